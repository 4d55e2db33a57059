"""The command line: parses, builds, calls the library."""
