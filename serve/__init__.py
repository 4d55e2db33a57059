"""The server: a batcher in front of the engine, transports that bring it calls, and their life from start to drain."""
