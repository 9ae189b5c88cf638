"""What a cell costs: one meter a file."""
