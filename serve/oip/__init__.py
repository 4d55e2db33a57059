"""The Open Inference Protocol v2: its messages to requests of the batcher and back, and what it tells of the model."""
