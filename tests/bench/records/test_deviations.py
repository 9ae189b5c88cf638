"""Groups of differences from a paper."""

from __future__ import annotations

from tunefront.bench.records.deviations import Compared, Group, grouped


def test_shared_differences_are_listed_once() -> None:
    groups = grouped(
        Compared("a", label, task, (*everywhere, *own))
        for everywhere in [("x is 1, not 2",)]
        for label, task, own in [
            ("ia3", "rte", ("y is 1, not 2",)),
            ("ia3", "copa", ("y is 1, not 2", "z is 1, not 2")),
            ("full", "rte", ()),
            ("full", "copa", ("z is 1, not 2",)),
        ]
    )
    assert groups == {
        "a": [
            Group("", "", ("x is 1, not 2",)),
            Group("", "copa", ("z is 1, not 2",)),
            Group("ia3", "", ("y is 1, not 2",)),
        ]
    }
    assert [group.subject for group in groups["a"]] == ["every method", "on copa", "ia3"]


def test_where_few_are_left_out_they_are_named_instead() -> None:
    cells = [Compared("a", label, "rte", ("x is 1, not 2",)) for label in ("a", "b", "c")]
    cells.append(Compared("a", "icl", "rte", ()))
    ((group,),) = grouped(cells).values()
    assert group.subject == "every method but icl"


def test_what_was_compared_with_nothing_does_not_count() -> None:
    cells = [Compared(None, "a", "rte", None), Compared("p", "a", "rte", None), Compared("p", "b", "rte", ())]
    assert grouped(cells) == {"p": []}
