"""The embedded tasks: what is harvested, what a row may not give away, and which rows stay when a version changes."""

import importlib.metadata
import re
import sys
import tomllib
from collections import Counter

import pytest

from tests import ROOT
from tunefront.bench.data import cache
from tunefront.bench.data.cache import write_task
from tunefront.bench.data.hashing import fraction
from tunefront.bench.data.sources import candidates, docstrings, harvest, known_tasks
from tunefront.bench.data.sources.candidates import LIBRARIES, TASKS, split_of, summarise
from tunefront.bench.data.sources.docstrings import build
from tunefront.bench.data.sources.harvest import Docstring, Source, code_docstrings
from tunefront.bench.errors import UserError

SYNTHETIC = ["kind", "library", "match"]
NOUNS = ["array", "axis", "batch", "edge", "frame", "graph", "handle", "index", "job", "kernel", "layer", "matrix"]
PLACES = ["Aden", "Bonn", "Cork", "Dover", "Essen", "Fargo"]
VERBS = ["Add", "Build", "Compute"]
CODE = '''
"""Tools that show what is harvested."""
class Outer:
    """A holder of other things, outer."""
    def method(self):
        """Return what the holder keeps."""
        def local():
            """Not harvested because it is local."""
    class Inner:
        """A holder within the holder."""
async def wait():
    """Wait until there is nothing left."""
def bare(): pass
'''
PARAMETERS = {
    "numpy": "Summary of it all.\n\nParameters\n----------\n"
    "count : int, default=5\n    How many rows to keep.\n"
    "other : int or float\n    A number that may be either.\nlow : float or None\n    The lower bound of the range.\n",
    "google": "Summary of it all.\n\nArgs:\n    keep (bool, optional): Whether the rows are kept.\n"
    "        More about it.\n    shape (list of int): The size of every axis.\n",
    "hugging face": "Summary of it all.\n\nArgs:\n    path (`str`, *optional*, defaults to `None`):\n"
    "        The folder to which files go.\n    flag (`bool`):\n        If True, it is given away.\n",
}


def synthetic(files: int = 40, version: int = 0) -> list[Docstring]:
    """Docstrings of made-up files, a few of which change with the version."""
    return [
        Docstring(package, f"{package}/file{n}.py", kind, name, f"{text}, seen in {PLACES[place]} {n} by {package}.")
        for place, package in enumerate(LIBRARIES)
        for n in range(files)
        for verb in VERBS
        for kind, name, text in (
            ("function", f"{verb.lower()}_{NOUNS[n % 12]}_{package}{n}", f"{verb} the {NOUNS[n % 12]}"),
            ("class", f"{verb}er{n}", f"A {NOUNS[n % 12]} that can {verb} {version * (n < 2)} times"),
            ("module", f"file{n}", f"{verb} and more: helpers for the {NOUNS[n % 12]}"),
        )
    ]


def made(name: str, actual: list[Docstring] | None = None):
    return build(name, actual or synthetic(), ("toy 1",))


def test_modules_classes_functions_and_methods_are_harvested_but_not_local_functions():
    actual = {(docstring.kind, docstring.name) for docstring in code_docstrings(CODE, "toy", "toy/tools.py")}
    assert actual == {
        ("module", "tools"),
        ("class", "Outer"),
        ("function", "method"),
        ("class", "Inner"),
        ("function", "wait"),
    }


def test_nothing_is_imported_and_every_file_gives_at_least_its_own_docstring(monkeypatch, tmp_path):
    package = tmp_path / "trap_package"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text('"""A package that must not be imported."""\nraise SystemExit\n')
    (package / "full.py").write_text(
        '# comment\n\n"""What the file is about."""\ndef f():\n    """Do one thing well."""\n'
    )
    (package / "python2.py").write_text('"""Old code that does not parse."""\nprint "no"\n')
    (package / "odd.py").write_text('"""Raw strings are rare."""\nx = "\\d"\n')
    (package / "tests" / "test_it.py").write_text('"""Tests are not harvested at all."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    for share, expected in ((1.0, {"__init__", "full", "f", "odd"}), (0.0, {"__init__", "full", "odd", "python2"})):
        assert {docstring.name for docstring in harvest.harvest((Source("trap_package", "trap", share),))} == expected
    assert "trap_package" not in sys.modules


def test_a_missing_package_is_a_mistake_that_says_what_to_install(monkeypatch):
    def version(name: str) -> str:
        if name in ("scikit-learn", "rich"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(UserError, match=r"scikit-learn, rich.*not installed; run: pip install scikit-learn rich"):
        harvest.versions()


def test_only_core_dependencies_are_harvested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]}
    assert {source.distribution for source in harvest.SOURCES} - {harvest.STANDARD_LIBRARY} <= core


def test_builds_of_one_version_for_different_hardware_count_as_one(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.6.0+cpu" if name == "torch" else "1.0")
    assert harvest.versions()["torch"] == "2.6.0"


@pytest.mark.parametrize("name", SYNTHETIC)
def test_every_split_has_as_many_rows_of_each_class(name):
    task = made(name)
    for rows in task.splits.values():
        counts = Counter(row.label for row in rows)
        assert set(counts) == set(range(len(task.label_names)))
        assert len(set(counts.values())) == 1


@pytest.mark.parametrize("name", SYNTHETIC)
def test_splits_share_no_file_and_no_text(name):
    task = made(name)
    for values in (lambda row: row.fields["source"], lambda row: task.texts(row), lambda row: row.id):
        seen = [{values(row) for row in rows} for rows in task.splits.values()]
        assert sum(map(len, seen)) == len(set.union(*seen))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_another_version_moves_few_rows(name):
    old, new = made(name), made(name, synthetic(version=1))
    for split in old.splits:
        before, after = ({(row.id, row.label) for row in task.splits[split]} for task in (old, new))
        assert len(before - after) <= 0.1 * len(before)


def test_the_order_of_the_harvest_changes_nothing():
    for name in SYNTHETIC:
        assert made(name) == made(name, synthetic()[::-1])


def test_packages_without_their_sources_are_a_mistake_that_says_so():
    for actual in ([Docstring("torch", "torch/a.py", "class", "A", "The only summary that is left.")], []):
        with pytest.raises(UserError, match=r"docstrings/kind: .*\(toy 1\) give no rows"):
            build("kind", actual, ("toy 1",))


def test_versions_are_in_the_fingerprint():
    assert build("kind", synthetic(), ("toy 1",)).fingerprint != build("kind", synthetic(), ("toy 2",)).fingerprint


def test_all_tasks_of_one_harvest_are_kept_and_each_is_written_once(monkeypatch, tmp_path):
    written = []
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path))
    monkeypatch.setattr(docstrings, "_build_all", lambda: {name: made(name) for name in SYNTHETIC})
    monkeypatch.setattr(cache, "write_task", lambda path, task: (written.append(task.name), write_task(path, task)))
    for name in (*SYNTHETIC, *SYNTHETIC):
        assert docstrings.load(name) == made(name)
    assert sorted(written) == [f"docstrings/{name}" for name in SYNTHETIC]


def test_a_library_is_not_named_in_its_summaries():
    names = re.compile(r"torch|sklearn|scikit|pandas|matplotlib|transformers|scipy", re.IGNORECASE)
    assert not [row for row in made("library").splits["train"] if names.search(str(row.fields["text"]))]
    for text in ("PyTorch tensors", "see scikit-learn's", "a `pandas.Series` or pd.Index", "torch_function", "mpl"):
        assert "library" in candidates.LIBRARY_NAME.sub("library", text)
    assert candidates.LIBRARY_NAME.sub("library", "spread the pdf") == "spread the pdf"


def test_words_that_name_a_kind_are_masked():
    actual = [Docstring("toy", "toy/a.py", "class", "A", "This subclass wraps functions of a Module.")]
    assert [candidate.inputs["text"] for candidate in candidates.kind(actual)] == ["This code wraps code of a code."]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("numpy", [("How many rows to keep.", "int"), ("The lower bound of the range.", "float")]),
        ("google", [("Whether the rows are kept.", "bool")]),
        ("hugging face", [("The folder to which files go.", "str")]),
    ],
)
def test_parameters_of_one_plain_type_are_found_and_descriptions_that_give_it_away_are_not(style, expected):
    actual = candidates.param_type([Docstring("toy", "toy/a.py", "function", "f", PARAMETERS[style])])
    assert [(candidate.inputs["text"], candidate.label) for candidate in actual] == expected


def test_a_pair_matches_where_name_and_summary_come_from_one_function():
    actual = synthetic()
    own = {(" ".join(re.findall(r"[a-z]+|\d+", d.name)), summarise(d.text)) for d in actual if d.kind == "function"}
    task = made("match", actual)
    for rows in task.splits.values():
        names = [row.fields["name"] for row in rows]
        assert len(set(names)) == len(names)
        for row in rows:
            assert (task.texts(row) in own) == (task.label_names[row.label] == "match")


def test_mismatched_summaries_come_from_the_same_package_and_split():
    actual = synthetic()
    at = {summarise(docstring.text): docstring for docstring in actual}
    for split, rows in made("match", actual).splits.items():
        for row in rows:
            origin = at[str(row.fields["summary"])]
            assert split_of(origin.path) == split
            assert origin.package == str(row.fields["source"]).split("/")[0]


def test_a_text_of_two_classes_is_left_out_and_one_of_one_class_kept_once():
    actual = synthetic()
    clash = [Docstring(p, f"{p}/clash.py", "function", "f", "Said in two packages.") for p in ("pandas", "scipy")]
    twice = [Docstring("pandas", f"pandas/t{n}.py", "function", "f", "Said twice  in ONE package.") for n in range(2)]
    splits = made("library", actual + clash + twice).splits
    texts = Counter(str(row.fields["text"]).casefold() for rows in splits.values() for row in rows)
    assert "said in two packages." not in texts
    assert max(texts.values()) == 1


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("Return the `rows` of\n  :class:`~pkg.Table`. Then more.\n\nDetails.", "Return the rows of pkg.Table."),
        ("Too short here.", ""),
        ("word " * 41, ""),
        ("Uses e.g. this kind of thing", "Uses e.g. this kind of thing"),
    ],
)
def test_a_summary_is_the_first_sentence_without_markup(text, summary):
    assert summarise(text) == summary


def test_fractions_are_spread_evenly_and_shares_follow():
    values = [fraction(str(n)) for n in range(2000)]
    assert all(0 <= value < 1 for value in values)
    assert abs(sum(values) / 2000 - 0.5) < 0.03
    splits = Counter(split_of(f"toy/{n}.py") for n in range(2000))
    assert splits["train"] > splits["test"] > splits["validation"] > 200


def test_known_tasks_are_those_that_can_be_built():
    assert {f"docstrings/{name}" for name in TASKS} == {t for t in known_tasks() if t.startswith("docstrings/")}


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_the_installed_packages_fill_every_split(name, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path_factory.getbasetemp() / "harvest"))
    task = docstrings.load(name)
    assert len(task.splits["train"]) >= 2000
    assert 500 <= len(task.splits["test"]) <= 1000
    assert 400 <= len(task.splits["validation"]) <= 504
    sources = [{row.fields["source"] for row in rows} for rows in task.splits.values()]
    assert sum(map(len, sources)) == len(set.union(*sources))
    assert f"transformers {importlib.metadata.version('transformers')}" in task.origin
    assert docstrings.load(name) == task
