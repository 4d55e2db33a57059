"""What can be wrong with a training run."""


class RunError(Exception):
    """A run folder that cannot be written, or is not one."""
