"""`nano`: a small decoder that learns in context, how it was trained, and the weights that ship with the project."""

from pathlib import Path

from tunefront.bench.models.locate import NANO

FOLDER = NANO
"""The shipped model: configuration, weights, tokenizer and its card."""

FIGURES = Path(__file__).with_name("figures")
"""What was logged and measured, out of which the card is written; apart, since a model's files are its identity."""
