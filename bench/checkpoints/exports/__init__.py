"""Fitted methods in forms that other software loads: merged models, other libraries' adapters, plain tensors."""
