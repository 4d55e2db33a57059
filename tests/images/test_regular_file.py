"""Paths of pictures that are no files: none is waited for, and each is an error of one line."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from digits.images import picture
from digits.images.errors import PictureError


def test_a_named_pipe_a_socket_or_a_device_is_refused_at_once(tmp_path: Path) -> None:
    """Nobody writes to the pipe, and /dev/zero never ends."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, kind in (
            (tmp_path / "pipe", "a named pipe"),
            (tmp_path / "socket", "a socket"),
            ("/dev/zero", "a device"),
        ):
            with pytest.raises(PictureError, match=f"^{kind}, not a file; give a picture file$"):
                picture.read(path)


def test_a_missing_file_is_pythons_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        picture.read(tmp_path / "nowhere.png")


@pytest.mark.parametrize("url", ["https://x.org/7.png", "s3://b/7.png"])
def test_a_url_is_said_not_to_be_read(url: str) -> None:
    for path in (url, Path(url)):
        with pytest.raises(PictureError, match=r"^a URL; URLs are not read: download the file and give its path$"):
            picture.read(path)


def test_a_folder_is_pythons_own_error_too(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        picture.read(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_so_is_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.touch(mode=0)
    with pytest.raises(PermissionError, match=r"secret\.png"):
        picture.read(path)
