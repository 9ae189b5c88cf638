"""A session keeps the most recently used backbones."""

from __future__ import annotations

import gc
import weakref

import pytest

from tests.toys import toy_task
from tunefront.bench.errors import UserError
from tunefront.bench.models.session import Session


def test_cells_of_one_backbone_share_its_weights(backbones: dict[str, str]) -> None:
    session = Session()
    assert session.pretrained(backbones["bert"]) is session.pretrained(backbones["bert"])


def test_one_backbone_is_kept_and_the_previous_one_is_gone(backbones: dict[str, str]) -> None:
    session = Session()
    first = session.pretrained(backbones["bert"])
    model = weakref.ref(first.fresh_copy(toy_task(), 0).model)
    weights = weakref.ref(first)
    del first
    session.pretrained(backbones["roberta"])
    gc.collect()
    assert weights() is None
    assert model() is None


def test_the_most_recently_used_backbones_stay(backbones: dict[str, str]) -> None:
    session = Session(most=2)
    first, second = (session.pretrained(backbones[name]) for name in ("bert", "roberta"))
    assert session.pretrained(backbones["bert"]) is first
    session.pretrained(backbones["distilbert"])
    assert session.pretrained(backbones["bert"]) is first
    assert session.pretrained(backbones["roberta"]) is not second


def test_a_backbone_that_cannot_be_read_is_not_kept() -> None:
    session = Session()
    for _ in range(2):
        with pytest.raises(UserError):
            session.pretrained("/nowhere/at/all")
