"""Meters of the costs of a cell, one per file."""
