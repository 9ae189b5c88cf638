"""Names as reports show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.reports.names import make_visible, short_names


@pytest.mark.parametrize("name", ["ev\x1b[31mil =cmd|", "a\u202eb", "t\u00ad", "\U000e0001x"])
def test_an_escaped_character_is_no_separator_of_a_path(name: str) -> None:
    for task in (f"dir:{name}", f"dir:data/{name}"):
        assert short_names([make_visible(task)]) == {make_visible(task): make_visible(name)}


def test_a_backslash_separates_a_path_of_windows() -> None:
    assert short_names(["dir:C:\\data\\sst2"]) == {"dir:C:\\data\\sst2": "sst2"}


def test_a_file_is_called_by_its_name_alone() -> None:
    name = "file:some/long/path/tickets.csv?text=title,review&label=sentiment"
    assert short_names([name, "docstrings/kind"]) == {name: "tickets.csv", "docstrings/kind": "kind"}


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (("file:a/t.csv?label=x", "file:b/t.csv?label=x"), ("a/t.csv", "b/t.csv")),
        (("file:a/t.csv", "file:a/t.csv?label=x"), ("t.csv", "t.csv?label=x")),
        (("file:t.csv?label=x&split=0.1", "file:t.csv?label=x&split=0.2"), ("t.csv?split=0.1", "t.csv?split=0.2")),
        (("file:t.csv?text=a&text=b", "file:t.csv?text=a"), ("t.csv?text=a&text=b", "t.csv?text=a")),
        (("file:a/t.csv?label=x", "file:b/t.csv?label=x", "file:b/t.csv?label=y"),
         ("a/t.csv", "b/t.csv?label=x", "b/t.csv?label=y")),
        (("file:t.csv?text=a&label=x", "file:t.csv?text=b&label=y"), ("t.csv?label=x", "t.csv?label=y")),
        (("file:t?text=a&label=x", "file:t?text=b&label=x", "file:t?text=b&label=y"),
         ("t?text=a&label=x", "t?text=b&label=x", "t?text=b&label=y")),
        (("dir:a/t", "file:a/t", "docstrings/kind"), ("dir:a/t", "file:a/t", "kind")),
        (("frame:0123456789abcdef?label=x", "frame:fedcba9876543210?label=x"), ("frame:01234567", "frame:fedcba98")),
        (("frame:0123456700000000", "frame:0123456711111111"), ("frame:0123456700000000", "frame:0123456711111111")),
        (("hub:glue/a?b", "docstrings/kind"), ("a?b", "kind")),
    ],
)  # fmt: skip
def test_names_are_as_short_as_tells_them_apart(names: tuple[str, ...], short: tuple[str, ...]) -> None:
    assert short_names(names) == dict(zip(names, short, strict=True))
    assert len(set(short_names(names).values())) == len(names)


@given(st.lists(st.from_regex(r"(file:|dir:|frame:|hub:)?([ab]/)?[ab](\?(label=[xy])?(&text=[xy])?)?", fullmatch=True)))
def test_short_names_are_different_for_different_names(names: list[str]) -> None:
    short = short_names(names)
    assert short.keys() == set(names)
    assert len(set(short.values())) == len(short)
