"""The one import of Keras and TensorFlow, whose C++ writes to stderr whatever its log level is."""

from digits.storage.quiet import quiet_stderr

with quiet_stderr():
    import keras  # noqa: TID251
    import tensorflow as tf  # noqa: TID251

__all__ = ["keras", "tf"]
