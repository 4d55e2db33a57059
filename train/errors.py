"""What can be wrong with a training run."""


class RunError(Exception):
    """A run folder that cannot be written, or is not one."""


class CheckpointError(RunError):
    """A checkpoint that cannot be read."""
