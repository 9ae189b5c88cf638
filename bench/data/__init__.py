"""Tasks to learn from and score: their sources, draws of rows, metrics."""
