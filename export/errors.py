"""What can keep a run from being published."""


class ExportError(Exception):
    """A run that cannot be exported."""


class ParityError(ExportError):
    """An exported model that does not answer as Keras does."""
