"""What can be wrong with a comparison or a sweep."""


class LabError(Exception):
    """Runs that cannot be compared, or a sweep that cannot continue."""
