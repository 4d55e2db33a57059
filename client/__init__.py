"""The client library: `Client("localhost:50051").classify(pixels)`."""

from digits.client.client import Client
from digits.client.errors import ClientError
from digits.client.predictions import Predictions

__all__ = ["Client", "ClientError", "Predictions"]
