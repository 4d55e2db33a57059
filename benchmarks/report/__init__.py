"""The report of all benchmarks: Markdown and one HTML page."""
