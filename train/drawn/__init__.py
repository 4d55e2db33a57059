"""Drawn images for training: digits in styles that MNIST has few of, and other things, which get a flat answer."""
