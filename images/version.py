"""The version of the preprocessing, which turns a picture into 28 x 28 pixels and decides which one is rejected."""

PREPROCESSING_VERSION = 7
"""Raised by every change after which a picture may become another digit, be rejected, or no longer be."""
