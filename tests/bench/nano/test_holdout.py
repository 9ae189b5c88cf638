"""What nano never saw: held-out libraries and files feed nothing, and no benchmark row's text is read elsewhere."""

from pathlib import Path

import pytest

from tunefront.bench.data.sources import docstrings
from tunefront.bench.data.sources.candidates import TASKS, split_of
from tunefront.bench.data.sources.harvest import SOURCES, Docstring, Source, harvest
from tunefront.bench.nano import corpus, holdout
from tunefront.bench.nano.holdout import Passages, is_held_out, normal

SMALL = tuple(Source(name, name) for name in ("jinja2", "rich", "fsspec", "datasets", "pydantic"))


def held_files() -> list[Docstring]:
    """Docstrings of files of the test split."""
    return [docstring for docstring in harvest(SMALL) if split_of(docstring.path) == "test"]


def benchmark_texts(*packages: str) -> set[str]:
    """Every text of a benchmark's test rows out of these packages, but for the names of functions: no sentences."""
    tasks = [docstrings.load(name) for name in TASKS]
    return {
        normal(str(row.fields[field]))
        for task in tasks
        for row in task.splits["test"]
        for field in task.input_fields
        if field != "name" and str(row.fields["source"]).split("/")[0] in packages
    }


def test_no_source_of_the_training_is_a_held_out_library() -> None:
    sources = {source.package for source in (*corpus.CORE, *corpus.INSTALLED, *corpus.FURTHER)}
    assert not sources & set(holdout.LIBRARIES)
    assert {source.package for source in SOURCES} <= sources


def test_files_of_benchmark_test_rows_are_held_out() -> None:
    for name in TASKS:
        paths = {str(row.fields["source"]) for row in docstrings.load(name).splits["test"]}
        assert paths
        assert all(is_held_out(Docstring(path.split("/")[0], path, "function", "f", "")) for path in paths)


@pytest.mark.parametrize("package", holdout.LIBRARIES)
def test_every_file_of_a_held_out_library_is_held_out(package: str) -> None:
    assert all(is_held_out(docstring) for docstring in harvest((Source(package, package),)))


def read(sources: tuple[Source, ...], packages: Path | None = None) -> corpus.Corpus:
    return corpus.gather(packages, sources)


@pytest.fixture(scope="module")
def small() -> corpus.Corpus:
    return read(SMALL)


def test_no_text_of_a_benchmark_test_row_is_read(small: corpus.Corpus) -> None:
    texts = benchmark_texts(*(source.package for source in SMALL))
    assert len(texts) > 50
    assert len(small.snippets) > 1000
    assert not texts & {normal(snippet.text) for snippet in small.snippets}
    passages = Passages(texts)
    assert not [document for document in small.documents if passages.occur_in(document)]


def test_the_same_search_finds_them_in_the_files_that_are_held_out() -> None:
    passages = Passages(holdout.benchmark_texts())
    held = held_files()
    assert sum(passages.occur_in(docstring.text) for docstring in held) > 20


def test_snippets_stand_in_files_that_are_read_and_once(small: corpus.Corpus) -> None:
    assert all(split_of(snippet.path) != "test" for snippet in small.snippets)
    contents = [normal(snippet.text) for snippet in small.snippets]
    assert len(contents) == len(set(contents))


@pytest.mark.slow
def test_no_text_of_a_benchmark_test_row_is_read_in_all_installed_packages() -> None:
    whole = read((*corpus.CORE, *corpus.INSTALLED))
    assert len(holdout.benchmark_texts()) > 3000
    assert holdout.count_read([*whole.documents, *(snippet.text for snippet in whole.snippets)]) == 0


def test_counting_finds_what_stands_anywhere() -> None:
    text = min(holdout.benchmark_texts())
    assert holdout.count_read([f"Before, {text.upper()}; after.", "Nothing"]) >= 1
    assert holdout.count_read(["Nothing of the kind"]) == 0


def test_copies_of_other_libraries_files_are_not_read() -> None:
    paths = ("seaborn/external/kde.py", "jax/_src/third_party/scipy/linalg.py", "torch/nn/linear.py")
    assert [corpus._is_copy(Docstring(path.split("/")[0], path, "function", "f", "")) for path in paths] == [
        True,
        True,
        False,
    ]


def test_passages_are_cut_out_whatever_their_case_and_markup() -> None:
    passages = Passages(["return the sum of all", "return the sum of all rows", "too short"])
    assert passages.cut("Well, *Return* the ``sum`` of all rows. Too short.") == "Well, *. Too short."
    assert passages.occur_in("return the\n    sum of all")
    assert not passages.occur_in("return the sum of them all")


def test_overlapping_passages_are_both_gone() -> None:
    passages = Passages(["a b c d", "d e f g"])
    assert not passages.occur_in(passages.cut("x a b c d e f g y"))
