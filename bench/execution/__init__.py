"""From cells to records: identity, running, grids, engines."""
