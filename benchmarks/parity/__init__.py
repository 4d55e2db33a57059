"""Keras beside every variant, in process and through the server."""
