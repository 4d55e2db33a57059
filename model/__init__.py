"""The model: the repository of its versions on disk, and the engine that runs one."""
