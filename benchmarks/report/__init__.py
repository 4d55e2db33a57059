"""From the JSON files to tables, figures and one page."""
