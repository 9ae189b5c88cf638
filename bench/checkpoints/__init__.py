"""Checkpoints that leave the house: what a fitted method is, beside its tensors, and how it scores new rows."""
