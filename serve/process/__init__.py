"""The server as processes: supervisor and workers, signals, and the limits of memory and threads."""
