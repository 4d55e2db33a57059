"""Where digits come from: MNIST's sources, and picture files by MNIST's own procedure."""
