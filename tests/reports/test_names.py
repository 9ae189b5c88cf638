"""Names as reports show them."""

from __future__ import annotations

import pytest

from tunefront.reports.names import make_visible, short_names


@pytest.mark.parametrize("name", ["ev\x1b[31mil =cmd|", "a\u202eb", "t\u00ad", "\U000e0001x"])
def test_an_escaped_character_is_no_separator_of_a_path(name: str) -> None:
    for task in (f"dir:{name}", f"dir:data/{name}"):
        assert short_names([make_visible(task)]) == {make_visible(task): make_visible(name)}


def test_a_backslash_separates_a_path_of_windows() -> None:
    assert short_names(["dir:C:\\data\\sst2"]) == {"dir:C:\\data\\sst2": "sst2"}
