"""Measurements of this project, side by side with what they are measured against; each leaves a JSON file."""
