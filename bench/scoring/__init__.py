"""Scoring answers with a language model: rank classification over choices, shared work done once."""
