"""Keras's copy of MNIST: where it is cached, and how it is downloaded, without Keras and without a long wait."""

import hashlib
import http.client
import os
import queue
import sys
import threading
import urllib.request
from pathlib import Path

from digits.images.data_file import error_text
from digits.images.errors import DataError
from digits.storage.atomic_file import replacing

# As in keras.datasets.mnist.
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
PATIENCE_S = 4.5  # for the answer, and again for each next byte: less than ten seconds together
PIECE = 2**18  # bytes


class DownloadError(DataError):
    """MNIST could not be downloaded; the text is the reason."""


def path() -> Path:
    """Where Keras keeps MNIST: in $KERAS_HOME, or in ~/.keras."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home, "datasets", "mnist.npz").expanduser().absolute()


def download() -> Path:
    """Downloads MNIST (11 MB) into Keras's cache and checks its SHA-256. Progress goes to a terminal's stderr.

    A slow network is waited for, one that sends nothing for less than ten seconds.

    Raises:
        DownloadError: the network or the cache cannot be used, or what came is not MNIST.
    """
    target, digest, size = path(), hashlib.sha256(), 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _answer() as answer, replacing(target) as temporary, temporary.open("wb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
                _show(f"\rMNIST: {size >> 20} MB downloaded")
            if digest.hexdigest() != SHA256:
                raise DownloadError(f"what came from {URL} is not MNIST: SHA-256 {digest.hexdigest()}, {size:,} bytes")
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(error_text(error)) from error
    _show("\n")
    return target


def _answer() -> http.client.HTTPResponse:
    """The server's answer, whose content is still to be read. Raises DownloadError in time.

    It is asked in another thread, since the look-up of a name cannot be given a time-out.
    """
    answers: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(URL, timeout=PATIENCE_S))
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=PATIENCE_S)
    except queue.Empty:
        raise DownloadError(f"no answer within {PATIENCE_S:g} s") from None
    if isinstance(answer, Exception):
        raise DownloadError(error_text(answer)) from answer
    return answer


def _show(progress: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(progress)
        sys.stderr.flush()
