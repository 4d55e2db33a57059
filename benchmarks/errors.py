"""What can be wrong with a benchmark."""


class BenchmarkError(Exception):
    """Something that a benchmark needs is missing, does not start, or answers wrongly."""
