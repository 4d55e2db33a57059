"""Keras compared with every variant, in process and through the server."""
