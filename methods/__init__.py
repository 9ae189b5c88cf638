"""Methods of adapting a pretrained model, one file each; add one by subclassing `Method`."""

if __name__ != "tunefront.methods":  # under a bare name, a second copy would register every method twice
    raise ImportError(f"this package is tunefront.methods, not {__name__}: write `import tunefront.methods`.")

from tunefront.methods.base import (
    Backbone,
    Batch,
    Examples,
    Harness,
    Method,
    Recipe,
    Scorer,
    Unsupported,
    at_least,
    trained,
)

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
