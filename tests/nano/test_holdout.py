"""What nano never saw: no row of a benchmark's test split is in the text that it reads."""

import pytest

from nano import corpus, holdout
from nano.corpus import is_copy
from nano.holdout import Passages, normal
from tunefront.bench.data.sources.candidates import TASKS, split_of
from tunefront.bench.data.sources.harvest import SOURCES, Docstring, Source, harvest

SMALL = tuple(Source(name, name) for name in ("rich", "fsspec"))


def test_no_source_of_the_training_is_a_held_out_library() -> None:
    sources = {source.package for source in corpus.PACKAGES}
    assert not sources & {source.package for source in holdout.LIBRARIES}
    assert {source.package for source in SOURCES} <= sources


def test_no_text_that_a_benchmark_test_row_may_show_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdout, "LIBRARIES", ())  # they take seconds to read, and have no such row
    documents, snippets = corpus.gather(None, SMALL)
    texts = {
        normal(text)
        for make in TASKS.values()
        for candidate in make(harvest(SMALL))
        for field, text in candidate.inputs.items()
        if field != "name" and split_of(candidate.path) == "test"  # the name of a function is no sentence
    }
    assert len(texts) > 50
    assert len(snippets) > 500
    contents = [normal(snippet.text) for snippet in snippets]
    assert len(contents) == len(set(contents))
    assert not texts & set(contents)
    assert all(split_of(snippet.path) != "test" for snippet in snippets)
    passages = Passages(texts)
    assert not [document for document in documents if passages.occur_in(document)]


@pytest.mark.parametrize(
    ("path", "copied"),
    [("seaborn/external/kde.py", True), ("jax/_src/third_party/linalg.py", True), ("torch/nn/linear.py", False)],
)
def test_copies_of_other_libraries_files_are_not_read(path: str, copied: bool) -> None:
    assert is_copy(Docstring(path.split("/")[0], path, "function", "f", "")) == copied


def test_passages_are_cut_out_whatever_their_case_and_markup() -> None:
    passages = Passages(["return the sum of all", "return the sum of all rows", "too short"])
    assert passages.cut("Well, *Return* the ``sum`` of all rows. Too short.") == "Well, *. Too short."
    assert passages.occur_in("return the\n    sum of all")
    assert not passages.occur_in("return the sum of them all")


def test_overlapping_passages_are_both_gone() -> None:
    passages = Passages(["a b c d", "d e f g"])
    assert not passages.occur_in(passages.cut("x a b c d e f g y"))
