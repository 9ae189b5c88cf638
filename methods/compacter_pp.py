"""Compacter++: hypercomplex adapters after the feed-forward only (Karimi Mahabadi et al., 2021, arXiv:2106.04647)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunefront.methods.base import Backbone
from tunefront.methods.compacter import Compacter


@dataclass(frozen=True)
class CompacterPP(Compacter):
    """`compacter` with one adapter per block, after its feed-forward sublayer.

    L(2 rank (d + m) + m + d) + n^3 + 2d(2L+1) + C(d+1) on BERT. T-Few's is
    `compacter_pp:activation=relu,share=false,std=0.02`.
    """

    name: ClassVar[str] = "compacter_pp"

    def _site(self, backbone: Backbone) -> str | None:
        return backbone.sites.ffn_output
