"""tritonclient, as its users write it, against a real server."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits.client import Client
from digits.protos.inference.v2 import inference_pb2

Pixels = NDArray[np.uint8]

SESSION = Path(__file__).with_name("tritonclient_session.py")


def test_tritonclient_is_told_what_digits_own_client_is_told(
    server: Any, client: Client, test_digits: Pixels, tmp_path: Path
) -> None:
    """And what it asks of a server's health, model, configuration, statistics, errors, classes and streams."""
    told = client.classify(test_digits[:4], include_probabilities=True)
    expected: dict[str, Any] = {"digits": test_digits[:4], "digit": np.uint8(told.digits)}
    expected |= {"probabilities": told.probabilities, "confidence": told.confidences, "novelty": told.novelties}
    expected["proto"] = np.frombuffer(inference_pb2.DESCRIPTOR.serialized_pb, np.uint8)
    np.savez(tmp_path / "expected.npz", **expected)
    subprocess.run([sys.executable, SESSION, server.address, tmp_path / "expected.npz"], check=True)
