"""What can be wrong with a training run."""


class RunError(Exception):
    """A run folder that cannot be written, or is not one."""


class DivergedError(RunError):
    """A training whose loss or weights are no longer finite."""


class CheckpointError(RunError):
    """A checkpoint that cannot be read."""
