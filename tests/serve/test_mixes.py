"""Random mixes of calls, over both transports: every answer belongs to its caller, none is lost or comes twice."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from digits.model.engine import load_engine
from digits.model.repository import open_repository
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.protos.inference.v2 import inference_pb2, inference_pb2_grpc

Pixels = NDArray[np.uint8]

CALLS = 250  # of a mix
CONNECTIONS = 8  # so that none has more than 20 of its calls reset at once, which HTTP/2 takes for an attack
OWN = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
Status = grpc.StatusCode
IN_TIME = {Status.OK, Status.DEADLINE_EXCEEDED, Status.RESOURCE_EXHAUSTED}
OUTCOMES = {"kept": {Status.OK}, "cancelled": {Status.OK, Status.CANCELLED}, "deadline": IN_TIME, "timeout": IN_TIME}


@dataclass(frozen=True)
class Plan:
    """One call: its images, its protocol, its level, and what becomes of it."""

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
    fate=st.sampled_from(["kept", "kept", "cancelled", "deadline", "timeout"]),
    milliseconds=st.integers(1, 30),
)
mixes = st.lists(plans, min_size=CALLS, max_size=CALLS)


class Caller:
    """Makes the calls of a plan, and reads their answers."""

    def __init__(self, channels: list[grpc.Channel]) -> None:
        self._digits = [digits_pb2_grpc.DigitClassifierStub(channel) for channel in channels]
        self._inference = [inference_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in channels]

    def call(self, index: int, plan: Plan, pixels: Pixels) -> Any:
        timeout = plan.milliseconds / 1000 if plan.fate == "deadline" else 60
        wait = 1000 * plan.milliseconds if plan.fate == "timeout" else 0
        if plan.protocol == "digits":
            request = digits_pb2.ClassifyRequest(
                pixels=pixels.tobytes(), include_probabilities=True, priority=plan.priority, timeout_microseconds=wait
            )
            return self._digits[index % CONNECTIONS].Classify.future(request, timeout=timeout)
        infer = inference_pb2.ModelInferRequest(
            model_name="digits", id=str(index), raw_input_contents=[pixels.tobytes()]
        )
        infer.inputs.add(name="pixels", datatype="UINT8", shape=[len(pixels), 28, 28])
        infer.parameters["priority"].uint64_param = plan.priority
        infer.parameters["timeout"].int64_param = wait
        return self._inference[index % CONNECTIONS].ModelInfer.future(infer, timeout=timeout)


def probabilities(index: int, plan: Plan, response: Any) -> bytes:
    if plan.protocol == "digits":
        return np.array(response.probabilities, np.float32).tobytes()
    assert response.id == str(index)
    raw: bytes = response.raw_output_contents[0]
    return raw


@pytest.fixture(scope="module")
def caller(serving: Any, transport: str) -> Iterator[Caller]:
    """At a server whose batches take 2 ms, so that calls wait, are refused, expire and are cancelled in the queue."""
    slow = ("--slow-down-microseconds", 2000, "--max-batch-size", 128)
    with serving("--precision", "fp32", "--transport", transport, *slow) as server, ExitStack() as stack:
        yield Caller([stack.enter_context(grpc.insecure_channel(server.address, OWN)) for _ in range(CONNECTIONS)])


@pytest.fixture(scope="module")
def rows(test_digits: Pixels) -> Any:
    return load_engine(open_repository(None).open(), variant="fp32", provider="cpu").run(test_digits)


def check(mix: list[Plan], caller: Caller, pixels: Pixels, rows: Any) -> None:
    ended: SimpleQueue[int] = SimpleQueue()
    calls = []
    for index, plan in enumerate(mix):
        call = caller.call(index, plan, pixels[plan.start : plan.start + plan.count])
        call.add_done_callback(lambda _, index=index: ended.put(index))
        calls.append(call)
    for plan, call in zip(mix, calls, strict=True):
        if plan.fate == "cancelled":
            call.cancel()
    assert sorted(ended.get(timeout=60) for _ in mix) == list(range(len(mix)))
    for index, (plan, call) in enumerate(zip(mix, calls, strict=True)):
        assert call.code() in OUTCOMES[plan.fate], (plan, call.details())
        if call.code() is Status.OK:
            own = rows[plan.start : plan.start + plan.count]
            assert probabilities(index, plan, call.result()) == own.tobytes()
    assert ended.empty()


mixed = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@given(mix=mixes)
@settings(mixed, max_examples=6)
def test_1500_calls_in_random_mixes(caller: Caller, test_digits: Pixels, rows: Any, mix: list[Plan]) -> None:
    check(mix, caller, test_digits, rows)


@pytest.mark.slow
@given(mix=mixes)
@settings(mixed, max_examples=40, derandomize=False)
def test_10000_calls_in_random_mixes(caller: Caller, test_digits: Pixels, rows: Any, mix: list[Plan]) -> None:
    check(mix, caller, test_digits, rows)
