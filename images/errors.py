"""What can be wrong with a source of digits."""


class DataError(Exception):
    """A MNIST source that cannot be used."""


class PictureError(Exception):
    """A file that is no picture of one digit."""
