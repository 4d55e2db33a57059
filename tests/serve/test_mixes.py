"""Random mixes of calls, over both transports: every answer belongs to its caller, none is lost, none comes twice."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.protos.inference.v2 import inference_pb2, inference_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

CALLS = 250  # of a mix
CONNECTIONS = 8  # so that none has more than 20 of its calls reset at once, which HTTP/2 takes for an attack
MAY_COME = {
    "kept": {grpc.StatusCode.OK},
    "cancelled": {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED},
    "hurried": {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED},
    "impatient": {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED},
}


@dataclass(frozen=True)
class Plan:
    """One call: which images, by which protocol, at which level, and what becomes of it."""

    start: int
    count: int
    protocol: str
    priority: int
    fate: str
    milliseconds: int  # of deadline or timeout


plans = st.builds(
    Plan,
    start=st.integers(0, 900),
    count=st.one_of(st.just(1), st.integers(1, 64)),
    protocol=st.sampled_from(["digits", "inference"]),
    priority=st.integers(0, 3),
    fate=st.sampled_from(["kept", "kept", "cancelled", "hurried", "impatient"]),
    milliseconds=st.integers(1, 30),
)
mixes = st.lists(plans, min_size=CALLS, max_size=CALLS)


class Caller:
    """Makes the calls of a plan, and reads their answers."""

    def __init__(self, address: str) -> None:
        own = [("grpc.use_local_subchannel_pool", 1)]  # or all channels would share a connection
        self.channels = [grpc.insecure_channel(address, own) for _ in range(CONNECTIONS)]
        self.digits = [digits_pb2_grpc.DigitClassifierStub(channel) for channel in self.channels]
        self.inference = [inference_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in self.channels]

    def call(self, index: int, plan: Plan, pixels: NDArray[np.uint8]) -> Any:
        timeout = plan.milliseconds / 1000 if plan.fate == "hurried" else 60
        wait = 1000 * plan.milliseconds if plan.fate == "impatient" else 0
        request: Any
        if plan.protocol == "digits":
            request = digits_pb2.ClassifyRequest(
                pixels=pixels.tobytes(),
                include_probabilities=True,
                priority=plan.priority,
                timeout_microseconds=wait,
            )
            return self.digits[index % CONNECTIONS].Classify.future(request, timeout=timeout)
        parameter, tensor = inference_pb2.InferParameter, inference_pb2.ModelInferRequest.InferInputTensor
        request = inference_pb2.ModelInferRequest(
            model_name="digits",
            id=str(index),
            parameters={"priority": parameter(uint64_param=plan.priority), "timeout": parameter(int64_param=wait)},
            inputs=[tensor(name="pixels", datatype="UINT8", shape=[len(pixels), 28, 28])],
            raw_input_contents=[pixels.tobytes()],
        )
        return self.inference[index % CONNECTIONS].ModelInfer.future(request, timeout=timeout)

    @staticmethod
    def probabilities(index: int, plan: Plan, response: Any) -> bytes:
        if plan.protocol == "digits":
            return np.array(response.probabilities, np.float32).tobytes()
        assert response.id == str(index)
        raw: bytes = response.raw_output_contents[0]
        return raw

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


@pytest.fixture(scope="module")
def caller(serving: Callable[..., Any], models: Path, transport: str) -> Iterator[Caller]:
    """At a server whose batches take 2 ms, so that calls wait, are refused, expire and are cancelled in the queue."""
    slow = ("--slow-down-microseconds", 2000, "--max-batch-size", 128)
    with serving("--models", models, "--precision", "int8", "--transport", transport, *slow) as server:
        caller = Caller(server.address)
        yield caller
        caller.close()


@pytest.fixture(scope="module")
def expected(models: Path, test_digits: NDArray[np.uint8]) -> NDArray[np.float32]:
    from digits.model.engine import load_engine
    from digits.model.repository import Repository

    return load_engine(Repository(models).open(), variant="int8", provider="cpu").run(test_digits)


def try_out(mix: list[Plan], caller: Caller, pixels: NDArray[np.uint8], rows: NDArray[np.float32]) -> None:
    ended: Counter[int] = Counter()
    all_ended = threading.Semaphore(0)
    calls = []
    for index, plan in enumerate(mix):
        call = caller.call(index, plan, pixels[plan.start : plan.start + plan.count])

        def end(_: Any, index: int = index) -> None:
            ended[index] += 1
            all_ended.release()

        call.add_done_callback(end)
        calls.append(call)
    for plan, call in zip(mix, calls, strict=True):
        if plan.fate == "cancelled":
            call.cancel()
    for _ in mix:
        assert all_ended.acquire(timeout=60)
    assert ended == Counter(range(len(mix)))
    for index, (plan, call) in enumerate(zip(mix, calls, strict=True)):
        assert call.code() in MAY_COME[plan.fate], (plan, call.details())
        if call.code() is grpc.StatusCode.OK:
            own = rows[plan.start : plan.start + plan.count]
            assert caller.probabilities(index, plan, call.result()) == own.tobytes()


mixed = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@given(mix=mixes)
@settings(mixed, max_examples=6)
def test_1500_calls_in_random_mixes(
    caller: Caller, test_digits: NDArray[np.uint8], expected: NDArray[np.float32], mix: list[Plan]
) -> None:
    try_out(mix, caller, test_digits, expected)


@pytest.mark.slow
@given(mix=mixes)
@settings(mixed, max_examples=40, derandomize=False)
def test_10000_calls_in_random_mixes(
    caller: Caller, test_digits: NDArray[np.uint8], expected: NDArray[np.float32], mix: list[Plan]
) -> None:
    try_out(mix, caller, test_digits, expected)
