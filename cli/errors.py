"""What can be wrong with a command."""


class CommandError(Exception):
    """A command that cannot do what it was told."""
