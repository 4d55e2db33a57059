"""Files: atomic writes, locks, checksums, JSON. The process: its cores, signals, stderr and versions. Uses no other."""
