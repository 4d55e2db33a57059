"""What reports are made of: templates, figures, tables and numbers as text. It imports nothing of digits."""
