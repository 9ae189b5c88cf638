"""Batches that mix rows of several fitted methods, each row through its own small modules on one backbone."""
