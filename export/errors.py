"""Errors of an export."""


class ExportError(Exception):
    """A model that cannot be exported."""


class ParityError(ExportError):
    """An exported model whose answers deviate from its reference's."""


class UnsupportedError(ExportError):
    """A graph from which one variant cannot be made; other variants may still be made."""
