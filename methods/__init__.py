"""Ways of adapting a pretrained model, one file each; add one by subclassing `Method`."""

from methods.base import Backbone, Batch, Examples, Harness, Method, Recipe, Scorer, Unsupported, at_least, trained

__all__ = [
    "Backbone",
    "Batch",
    "Examples",
    "Harness",
    "Method",
    "Recipe",
    "Scorer",
    "Unsupported",
    "at_least",
    "trained",
]
