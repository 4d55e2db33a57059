"""Scoring: thousands of pictures to a table, in their order, none lost."""
