"""Files on disk: atomic writes, locks, checksums and JSON. It imports nothing of digits."""
