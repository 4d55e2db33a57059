"""Files: atomic writes, locks, checksums and JSON; a process's stderr and signals. It imports nothing of ours."""
