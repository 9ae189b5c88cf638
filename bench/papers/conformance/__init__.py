"""How a run differs from the paper that its suite repeats: found by comparing, when the run starts."""
