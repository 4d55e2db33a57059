"""Recipes: sets of defaults for `digits train`, read after the command line, the environment and digits.toml."""

from __future__ import annotations

from typing import Any

# What differs from the defaults of TrainSettings, which are the lesson's own.
RECIPES: dict[str, dict[str, Any]] = {
    "lesson": {},
    # Chosen by the accuracy on 10,000 of the 60,000 training images, held out; the test images had no part in it.
    "best": {
        "epochs": 300,
        "batch_size": 256,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "schedule": "cosine",
        "weight_decay": 0.15,
        "distortion": 1.0,
        "validation_split": 0.0,
    },
}
