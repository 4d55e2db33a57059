"""The gRPC client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

import grpc
import numpy as np

from digits.client.errors import ClientError
from digits.client.predictions import Predictions, as_pixels
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

if TYPE_CHECKING:
    from numpy.typing import NDArray

# gRPC's own retries (gRFC A6): a call that no server took is sent again, but not into an outage.
SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "digits.v1.DigitClassifier"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    "loadBalancingConfig": [{"round_robin": {}}],
}


class Client:
    """Classifies digits at a server. Safe to share between threads; a context manager.

    Example:
        with Client("localhost:50051") as client:
            predictions = client.classify(pixels)
    """

    def __init__(self, address: str, *, timeout: float = 10.0) -> None:
        """Connects at the first call, and to the server itself: a proxy in the environment is passed by.

        Args:
            address: HOST:PORT or unix:PATH.
            timeout: Seconds that a call may take in all, retries included.
        """
        self._address = address
        self._timeout = timeout
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
                ("grpc.max_receive_message_length", -1),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._stub = digits_pb2_grpc.DigitClassifierStub(self._channel)

    def classify(self, pixels: NDArray[np.uint8], *, include_probabilities: bool = False) -> Predictions:
        """Classifies one image, uint8 [28, 28], or many, uint8 [n, 28, 28], 0 for background and 255 for ink.

        Raises:
            ValueError: the array is none of these.
            ClientError: the server did not answer, with its status code.
        """
        request = digits_pb2.ClassifyRequest(
            pixels=as_pixels(pixels).tobytes(), include_probabilities=include_probabilities
        )
        try:
            response = self._stub.Classify(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._client_error(error) from error
        return Predictions(
            digits=np.array(response.digits, np.uint8),
            confidences=np.array(response.confidences, np.float32),
            probabilities=np.array(response.probabilities, np.float32).reshape(-1, 10)
            if include_probabilities
            else None,
            model_version=response.model_version,
        )

    def model(self) -> digits_pb2.GetModelResponse:
        """The model that answers, its evidence, and the server's limits. Raises ClientError."""
        try:
            return self._stub.GetModel(digits_pb2.GetModelRequest(), timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._client_error(error) from error

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _client_error(self, error: grpc.RpcError) -> ClientError:
        code = error.code().name
        return ClientError(code, f"{self._address}: {code}: {error.details()}")
