"""Whether one build of digits is slower than another."""
