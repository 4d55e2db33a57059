"""A process that runs each command of the tests in a fork of itself: conftest.py's `WarmProcess` is its other end.

It has imported what the commands before have imported, since the start of Python and of its libraries takes longer than
most commands; TensorFlow's alone takes seconds. A fork inherits no threads, and no objects of gRPC or TensorFlow: a
command makes them when it runs, and no import does.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import socket
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from digits.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterable

# Importing these starts no thread of theirs that a fork would miss, and reads no setting of ours.
WARM = {"PIL", "cyclopts", "digits", "grpc", "jinja2", "keras", "matplotlib", "mlxtend", "numpy", "onnx", "onnxruntime"}
WARM |= {"optuna", "scipy", "sklearn", "sqlalchemy", "tensorflow", "tf2onnx"}


def main() -> None:
    """For each request, answers with the process id of the fork that runs it, and then with its exit code."""
    os.environ |= {
        "ORT_DISABLE_TELEMETRY": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # before the imports: telemetry is a thread
    sys.modules["__main__"] = app  # which a command's own processes import, as after `python -m digits.cli.app`
    link = socket.socket(fileno=int(sys.argv[1]))
    while True:
        request, (*streams, imported), _, _ = socket.recv_fds(link, 1 << 20, 3) or (b"", [], 0, None)
        if not request:
            return
        if not (child := os.fork()):
            link.close()
            run(json.loads(request), streams, imported)
        link.send(child.to_bytes(4))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        link.send(code.to_bytes(4, signed=True))
        import_again(os.pread(imported, 1 << 24, 0).decode().split())
        for descriptor in (*streams, imported):
            os.close(descriptor)


def run(request: dict[str, Any], streams: list[int], imported: int) -> NoReturn:
    """Runs a command to the end of this process; what it has imported is written to a descriptor."""
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = [str(app.__file__), *request["arguments"]]
    code: object = 0
    try:
        app.main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - a traceback is what a command's own process would print
        traceback.print_exc()
        code = 1
    os.write(imported, "\n".join(sys.modules).encode())
    os.close(imported)
    # As the interpreter ends, but for the time that it takes to free every object of TensorFlow's.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0)


def import_again(names: Iterable[str]) -> None:
    for name in names:
        if name.partition(".")[0] in WARM and name not in sys.modules:
            with suppress(ImportError):
                importlib.import_module(name)


if __name__ == "__main__":
    main()
