"""The client library: `Client("localhost:50051").classify(pixels)`, and `AsyncClient` for asyncio."""

from digits.client.async_client import AsyncClient
from digits.client.client import Client
from digits.client.errors import (
    AddressError,
    ClientError,
    ClosedError,
    DeadlineError,
    OverloadedError,
    RequestError,
    ServerError,
    UnavailableError,
)
from digits.client.pixels import Images
from digits.client.predictions import Predictions, Timing
from digits.client.reading import ReadDigit, Reading

__all__ = [
    "AddressError",
    "AsyncClient",
    "Client",
    "ClientError",
    "ClosedError",
    "DeadlineError",
    "Images",
    "OverloadedError",
    "Predictions",
    "ReadDigit",
    "Reading",
    "RequestError",
    "ServerError",
    "Timing",
    "UnavailableError",
]
