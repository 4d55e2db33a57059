"""From MNIST to a run folder: the Keras model, its history and its report."""
