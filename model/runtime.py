"""The only import of ONNX Runtime, and the sessions that it opens."""

import io
import logging
import os
from contextlib import redirect_stdout
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from digits.model.errors import ModelError, ProviderError
from digits.storage.text import first_line

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
WARNING, FATAL = 2, 4  # ONNX Runtime's log severities
Provider = Literal["auto", "cpu", "cuda"]

log = logging.getLogger(__name__)


def open_session(path: Path | bytes, provider: Provider, threads: int) -> Any:
    """Opens an ONNX Runtime session on the requested provider.

    Args:
        path: The ONNX file, or its content.
        provider: `cuda` never falls back to the CPU; `auto` does, and logs why.
        threads: The number of threads of one run on the CPU.

    Raises:
        ProviderError: the provider cannot run on this host.
        ModelError: ONNX Runtime cannot read the file as a model.
    """
    runtime = _import_onnxruntime()
    if provider == "cpu":
        return _open_cpu(runtime, path, threads)
    try:
        return _open_cuda(runtime, path)
    except ProviderError as error:
        if provider == "cuda":
            raise
        log.info("running on the CPU: %s", error)
        return _open_cpu(runtime, path, threads)


def bare_run(session: Any) -> Any:
    """The session's `run(outputs, inputs, options)` without the checks of its Python wrapper.

    An engine checks names and types when it opens. The wrapper of 1.32 takes 3 of the 17 microseconds of one image.
    """
    return session._sess.run  # noqa: SLF001 - present since 1.0


def _import_onnxruntime() -> ModuleType:
    if all(any(distributions(name=name)) for name in ("onnxruntime", "onnxruntime-gpu")):
        raise ModelError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "uninstall both, then install digits-serving[serve] or digits-serving[cuda]"
        )
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read by the import
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"onnxruntime cannot be imported ({error}): "
            "install digits-serving[serve] for CPU or digits-serving[cuda] for CUDA"
        ) from error
    return onnxruntime  # type: ignore[no-any-return] # skipped by mypy: it has no types


def _open_cpu(runtime: ModuleType, path: Path | bytes, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads  # the default pins threads and fails in cpusets
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # constant memory for a tenth of the speed
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return _open(runtime, path, options, [CPU])


def _open_cuda(runtime: ModuleType, path: Path | bytes) -> Any:
    if CUDA not in runtime.get_available_providers():
        raise ProviderError(
            "this onnxruntime is built without CUDA: install digits-serving[cuda] instead of digits-serving[serve]"
        )
    missing = _preload_cuda(runtime)
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    runtime.set_default_logger_severity(FATAL)  # the exception says what failed
    try:
        return _open(runtime, path, options, [(CUDA, {"use_tf32": "0"})])
    except ModelError as error:
        raise ProviderError(
            f"CUDA cannot run here ({missing or 'no GPU or driver is found: see nvidia-smi'}); "
            "fix it, with digits-serving[cuda] installed, or say --provider cpu"
        ) from error
    finally:
        runtime.set_default_logger_severity(WARNING)


def _preload_cuda(runtime: ModuleType) -> str:
    """Loads CUDA libraries that pip installed. Returns the first complaint, which would go to stdout otherwise."""
    said = io.StringIO()
    with redirect_stdout(said):
        runtime.preload_dlls()
    return said.getvalue().partition("\n")[0]


def _open(runtime: ModuleType, path: Path | bytes, options: Any, providers: list[Any]) -> Any:
    try:
        return runtime.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        name = "the model" if isinstance(path, bytes) else path
        raise ModelError(f"{name}: {type(error).__name__}: {first_line(error)}") from error
