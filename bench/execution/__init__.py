"""Turns cells into records: identity, running, grids, engines."""
