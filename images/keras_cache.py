"""Keras's copy of MNIST: where it is kept, and how to fetch it without ever waiting long for a network."""

import contextlib
import importlib.util
import os
import queue
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from digits.storage.quiet import quiet_stderr

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"  # as in keras.datasets.mnist
PATIENCE_S = 4.5  # for the first byte, and again for every next one: together less than ten


class DownloadError(Exception):
    """Keras could not download MNIST; the text is the reason."""


def path() -> Path:
    """Where Keras keeps MNIST: in $KERAS_HOME, or in ~/.keras."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home, "datasets", "mnist.npz").expanduser().absolute()


def download() -> Path:
    """Let Keras download MNIST and check its hash; where it has put the file.

    A slow network is waited for, a silent one for less than ten seconds. Progress goes to stderr.

    Raises:
        DownloadError: Keras is not installed, the network is not there, or what came is not MNIST.
    """
    if importlib.util.find_spec("keras") is None:
        raise DownloadError("Keras is not installed")
    probe()
    try:
        with quiet_stderr():
            import keras  # noqa: TID251 train/ comes after this package
        with _patience(), contextlib.redirect_stdout(sys.stderr):
            keras.datasets.mnist.load_data()
            return Path(keras.utils.get_file("mnist.npz", origin=URL))  # in the cache by now
    except Exception as error:  # Keras raises plain Exception, or has no backend
        raise DownloadError(_line(error)) from error


def probe() -> None:
    """Fetch one byte of the file, or raise DownloadError in time.

    In a thread of its own, since a look-up of a name cannot be given a time-out.
    """
    answer: queue.Queue[Exception | None] = queue.Queue()
    threading.Thread(target=lambda: answer.put(_first_byte()), daemon=True).start()
    try:
        error = answer.get(timeout=PATIENCE_S)
    except queue.Empty:
        raise DownloadError(f"no answer within {PATIENCE_S:g} s") from None
    if error is not None:
        raise DownloadError(_line(error)) from error


def _first_byte() -> Exception | None:
    request = urllib.request.Request(URL, headers={"Range": "bytes=0-0"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:  # noqa: S310 - https, above
            reply.read(1)
    except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
        return error
    return None


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
