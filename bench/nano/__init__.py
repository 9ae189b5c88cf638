"""`nano`: a small decoder that learns in context, how it was trained, and the weights that ship with the project."""

from pathlib import Path

from tunefront.bench.models.locate import NANO

FOLDER = NANO
"""The shipped model: configuration, weights, tokenizer and its card."""

FIGURES = Path(__file__).with_name("figures")
"""Logs and measurements for the card; kept out of the model's folder, whose files are its identity."""
