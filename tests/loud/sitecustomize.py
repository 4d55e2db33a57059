"""Writes to stderr when TensorFlow is imported, as its C++ does on some CPUs. See clean_environment in conftest.py."""

import os
import sys
from importlib.abc import MetaPathFinder


class Greeting(MetaPathFinder):
    """Finds no module; it only sees them go by."""

    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        if name == "tensorflow":
            os.write(2, b"TensorFlow is imported\n")


sys.meta_path.insert(0, Greeting())
