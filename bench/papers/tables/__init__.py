"""Papers' own cost tables beside ours."""
