"""What can stop a scoring. A bad file cannot: it is a row with its reason."""


class ScoreError(Exception):
    """A scoring that cannot begin, or cannot go on. What is done is kept."""
