"""From a run folder to a published version: the Keras model as ONNX, and the proof that it answers the same."""
