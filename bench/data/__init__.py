"""What is learned from and scored: tasks, their sources, draws of rows, metrics."""
