"""Finds the differences between a run and the paper that its suite repeats, when the run starts."""
