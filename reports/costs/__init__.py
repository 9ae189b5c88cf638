"""Breakdowns of each kind of cost, one per file."""
