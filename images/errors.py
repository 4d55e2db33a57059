"""What can be wrong with a source of digits."""


class DataError(Exception):
    """A MNIST source that cannot be used."""


class ArrayError(ValueError):
    """An array that does not hold digits; the text says what is wrong and what is expected."""


class PictureError(Exception):
    """A file that is no picture of one digit."""


class BlankError(PictureError):
    """A picture on which nothing stands out from the paper."""


class SeveralDigitsError(PictureError):
    """A picture of more than one digit."""


class UnclearError(PictureError):
    """A picture whose ink is no one digit's."""
