"""What a fair search tries: sizes that methods take, from small to large, and rates that include the recipe's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.toys import pair_id, shipped
from tunefront.bench.papers.counts import attached_count
from tunefront.methods.base import Method
from tunefront.methods.spelling import parse, spell

SEARCHED = [method for method in shipped() if method.search is not None]


@pytest.mark.parametrize("method", [method for method in SEARCHED if method.search.size], ids=pair_id)  # type: ignore[union-attr]
def test_sizes_go_from_small_to_large(method: Method) -> None:
    search = method.search
    assert search is not None
    assert search.size is not None
    assert len(set(search.sizes)) == len(search.sizes)
    smallest, largest = (replace(type(method)(), **{search.size: search.sizes[place]}) for place in (0, -1))
    assert parse(spell(largest)) == largest
    few, many = (attached_count(sized, "gpt2") for sized in (smallest, largest))
    assert few < many or few == many == 0, "what is made in fit() is not counted before"


@pytest.mark.parametrize("method", SEARCHED, ids=pair_id)
def test_rates_go_up_and_the_recipes_own_lies_among_them(method: Method) -> None:
    assert method.search is not None
    assert method.recipe is not None
    rates = method.search.learning_rates
    assert rates == tuple(sorted(set(rates)))
    assert rates[0] <= method.recipe.learning_rate <= rates[-1]
