"""Regexes of others: those whose matching could take for ever are refused, those of real architectures are not."""

from __future__ import annotations

import pytest

from tunefront.methods.sites.patterns import MOST_REPEATS, check_pattern


@pytest.mark.parametrize(
    "regex",
    [
        r"model\.layers\.\d+\.(q|k|v)_proj",
        "|".join(rf"{name}\.\d+\.norm" for name in "abcdefgh"),  # one of them is matched
        r"(?:encoder|decoder)\.\d+\.(?:first|second)\.(?:in|out)",
        r"a?b{3}c*",
    ],
)
def test_what_ends_soon_is_accepted(regex: str) -> None:
    check_pattern(regex)


@pytest.mark.parametrize(
    "regex",
    [
        r"(\w+\.)+weight",
        r"(ab|a)*c",
        r"\d+" * (MOST_REPEATS + 1),
        rf"a|{'x*' * (MOST_REPEATS + 1)}",
        "(ab|a.)" * 20,
        "(",
    ],
)
def test_what_may_take_for_ever_is_refused(regex: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        check_pattern(regex)
