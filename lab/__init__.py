"""Comparing finished runs, and sweeps over hyperparameters."""
