"""A method keeps its colour and marker in every report."""

from __future__ import annotations

from itertools import combinations

from tests.reports.answered import world
from tests.toys import shipped
from tunefront.reports.plots.style import BLACK, FAMILIES, MARKERS, STYLES, place_of, style_of, styles_of
from tunefront.reports.plots.tradeoff import family_styles
from tunefront.reports.sections.document import compose

KEPT = {
    "full": (BLACK, "s"),
    "houlsby": (0, "o"),
    "ia3": (1, "o"),
    "lora": (2, "o"),
    "bitfit": (3, "o"),
    "prefix_tuning": (4, "o"),
    "icl": (5, "o"),
    "features": (6, "o"),
    "fish": (7, "o"),
    "a_users_own": (1, "X"),
}
"""Styles of published reports. They are never changed."""


def test_published_styles_stay():
    assert {name: place_of(name) for name in KEPT} == KEPT


def test_every_shipped_method_has_a_style_of_its_own():
    names = sorted({method.name for method in shipped()})
    assert set(names) <= set(STYLES)
    for first, second in combinations(STYLES, 2):
        assert STYLES[first] != STYLES[second], (first, second)


def test_a_style_does_not_depend_on_the_other_methods_of_a_report(tmp_path):
    few = world(tmp_path / "few", {"lora": 0.8, "ia3": 0.8}, ("sst2",))
    many = world(
        tmp_path / "many", dict.fromkeys(("bitfit", "full", "houlsby:bottleneck=8", "ia3", "lora"), 0.8), ("sst2",)
    )
    styles = [family_styles(compose(records).pages[0].panel) for records in (few, many)]
    assert styles[0].items() <= styles[1].items()


def test_lines_of_one_method_share_its_colour_and_differ_in_their_marker():
    styles = styles_of(["full", "full in sequence", "full on all tasks", "lora"])
    assert {colour for colour, _ in styles[:3]} == {style_of("full")[0]}
    assert len({marker for _, marker in styles[:3]}) == 3
    assert styles[3] == style_of("lora")


def test_names_that_nobody_listed_have_known_colours_and_markers():
    for name in ("", "x" * 300, "méthode", "a:b"):
        colour, marker = style_of(name)
        assert colour in FAMILIES
        assert marker in MARKERS
