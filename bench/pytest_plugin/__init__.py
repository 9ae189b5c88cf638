"""`pytest --benchmark`: the cells of a suite as benchmark items."""
