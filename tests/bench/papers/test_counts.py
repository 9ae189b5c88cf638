"""Trained parameters on the papers' backbones, from configurations alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefront.bench.data import cache
from tunefront.bench.papers import counts
from tunefront.bench.papers.conformance.practice import practice_of
from tunefront.bench.papers.counts import attached_count, kept_count, trained_count
from tunefront.bench.papers.reading import known_papers
from tunefront.bench.suites.sweeps import method_of
from tunefront.methods.base import Method

LINES = [
    pytest.param(line.method, backbone, count, line.differs, id=f"{line.name} on {backbone}")
    for paper in sorted(known_papers())
    for line in practice_of(paper).lines
    for backbone, count in line.counts.items()
]


@pytest.mark.parametrize(("method", "backbone", "count", "differs"), LINES)
def test_a_method_trains_as_many_parameters_as_the_papers_code(
    method: Method, backbone: str, count: int, differs: str
) -> None:
    """Where it does not, the reason is written down."""
    assert (attached_count(method, backbone) == count) is (differs == "")


@pytest.mark.parametrize(
    ("method", "backbone", "count"),
    [
        pytest.param(line.method, backbone, count, id=f"{line.name} on {backbone}")
        for line in practice_of("tfew2022").lines
        for backbone, count in line.kept.items()
    ],
)
def test_what_is_left_after_training_is_as_much_as_in_the_papers_code(
    method: Method, backbone: str, count: int
) -> None:
    assert kept_count(method, backbone) == count < attached_count(method, backbone)


def test_a_count_is_kept_and_made_again_where_it_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(counts, "attached_count", lambda *what: calls.append(what) or 7)
    method = method_of("ia3")

    def counted() -> int:
        trained_count.cache_clear()
        return trained_count(method, "bert-base")

    assert [counted(), counted()] == [7, 7]
    assert len(calls) == 1
    (path,) = (path for path in cache.folder("counts").iterdir() if path.read_text("utf-8") == "7")
    for content in ("{", '"7"', "true"):
        path.write_text(content, encoding="utf-8")
        assert counted() == 7
    assert len(calls) == 4
    trained_count.cache_clear()


def test_a_count_that_cannot_be_kept_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("", encoding="utf-8")
    monkeypatch.setenv("TUNEFRONT_CACHE", str(taken))
    monkeypatch.setattr(counts, "attached_count", lambda *_: 7)
    trained_count.cache_clear()
    assert trained_count(method_of("ia3"), "bert-large") == 7
    trained_count.cache_clear()
