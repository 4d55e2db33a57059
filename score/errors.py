"""The error that stops a scoring. A bad file does not: it is a row with its reason."""


class ScoreError(Exception):
    """A scoring cannot begin, or cannot continue. Finished rows are kept."""
