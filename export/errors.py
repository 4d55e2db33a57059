"""What can keep a model from being published."""


class ExportError(Exception):
    """A model that cannot be exported."""


class ParityError(ExportError):
    """An exported model that does not answer as its reference does."""


class UnsupportedError(ExportError):
    """A graph that a variant cannot be made of; the others still can."""
