"""A count of the work of a call, without a clock; and all of MNIST."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from digits.images import mnist

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from digits.images.mnist import Mnist


@pytest.fixture(scope="session")
def steps() -> Callable[..., int]:
    """Counts the lines of Python that a call runs, in all functions below it; its error is part of the run."""

    def count(function: Callable[..., object], *arguments: object) -> int:
        lines = 0

        def trace(_frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal lines
            lines += event == "line"
            return trace

        before = sys.gettrace()
        gc.disable()  # hypothesis runs Python in a callback of the collector
        sys.settrace(trace)
        try:
            function(*arguments)
        except Exception:  # noqa: BLE001, S110 - the caller asks for the steps alone
            pass
        finally:
            sys.settrace(before)
            gc.enable()
        return lines

    return count


@pytest.fixture(scope="session")
def all_of_mnist() -> Mnist:
    if "DIGITS_DATA" not in os.environ:
        pytest.skip("DIGITS_DATA does not say where all of MNIST is")
    return mnist.load(os.environ["DIGITS_DATA"])
