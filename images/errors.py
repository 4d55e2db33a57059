"""Errors of sources of digits."""


class DataError(Exception):
    """A MNIST source that cannot be used."""


class ArrayError(ValueError):
    """An array that does not hold digits."""


class PictureError(Exception):
    """A file that is not a picture of one digit."""


class BlankError(PictureError):
    """A picture on which nothing stands out from the paper."""


class SeveralDigitsError(PictureError):
    """A picture of more than one digit."""


class UnclearError(PictureError):
    """A picture whose ink is not one digit."""
