"""A method on a backbone that holds no numbers: what it trains and costs is counted, nothing is run."""

from __future__ import annotations

from bench.families import Backbone, Prompting
from bench.forecast.made_up import Bare, Lengths
from bench.forecast.outlines import outline
from methods.base import Method

_ANY = Lengths()
"""The rows that the backbone is made for, which no count of parameters depends on; a head has two outputs."""


def attached(method: Method, name: str) -> Backbone:
    """The backbone of a preset's name or a configuration's path, with the method attached; Unsupported as it says."""
    made = outline(name, _ANY)
    backbone = made.pristine(_ANY.task(made.sites.family), seed=0, prompting=Prompting(Bare()))
    with made.making():
        method.attach(backbone)
    return backbone
