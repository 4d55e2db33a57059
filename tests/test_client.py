"""The client library: numpy in, a typed result out, one kind of error."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from digits.client import Client, ClientError
from digits.client.local import LocalClassifier

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist


def test_predictions_are_typed_arrays(client: Client, data: Mnist) -> None:
    predictions = client.classify(data.x_test[:1000])
    assert predictions.digits.dtype == np.uint8
    assert predictions.confidences.dtype == np.float32
    assert predictions.probabilities is None
    assert predictions.model_version == "1"
    assert len(predictions) == 1000
    assert (predictions.digits == data.y_test).mean() >= 0.935


def test_one_image_needs_no_batch_dimension(client: Client, test_digits: NDArray[np.uint8]) -> None:
    predictions = client.classify(test_digits[0], include_probabilities=True)
    assert predictions.probabilities is not None
    assert predictions.probabilities.shape == (1, 10)
    assert predictions.digits[0] == predictions.probabilities[0].argmax()


def test_this_process_answers_as_the_server_does(client: Client, models: Path, test_digits: NDArray[np.uint8]) -> None:
    here = LocalClassifier(models, precision="int8").classify(test_digits, include_probabilities=True)
    there = client.classify(test_digits, include_probabilities=True)
    assert here.probabilities is not None
    assert there.probabilities is not None
    assert here.probabilities.tobytes() == there.probabilities.tobytes()
    assert np.array_equal(here.digits, there.digits)
    assert here.model_version == there.model_version


def test_a_view_that_is_not_contiguous_is_sent_as_it_looks(client: Client, test_digits: NDArray[np.uint8]) -> None:
    view = test_digits[:20][::-2]
    assert np.array_equal(client.classify(view).digits, client.classify(view.copy()).digits)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((28, 28), np.float32), np.zeros((28, 27), np.uint8), np.zeros((0, 28, 28), np.uint8), np.uint8(0)],
)
def test_an_array_that_is_no_digit_is_said_before_it_is_sent(client: Client, pixels: Any) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[28, 28\] or \[n, 28, 28\]"):
        client.classify(pixels)


def test_a_refusal_carries_the_code_and_the_servers_words(client: Client) -> None:
    with pytest.raises(ClientError, match="max_batch_size is 1024") as error:
        client.classify(np.zeros((1025, 28, 28), np.uint8))
    assert error.value.code == "INVALID_ARGUMENT"


def test_nobody_there_is_unavailable_after_some_tries(test_digits: NDArray[np.uint8]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with Client(address, timeout=20) as client, pytest.raises(ClientError, match=address) as error:
            client.classify(test_digits[0])
    assert error.value.code == "UNAVAILABLE"


def test_a_server_that_never_answers_costs_the_timeout(test_digits: NDArray[np.uint8]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address, timeout=0.2) as client, pytest.raises(ClientError) as error:
            client.classify(test_digits[0])
    assert error.value.code == "DEADLINE_EXCEEDED"


def test_importing_it_needs_neither_onnxruntime_nor_tensorflow() -> None:
    code = "import sys, digits.client; sys.exit(bool({'onnxruntime', 'tensorflow', 'keras'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)
