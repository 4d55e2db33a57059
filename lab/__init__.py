"""Runs held against each other: comparison and sweep."""
