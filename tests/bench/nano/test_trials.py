"""Tasks of held-out libraries: files are the classes, and what differs between variants is the labels alone."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tunefront.bench.data.sources import load_task
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.nano import trials
from tunefront.bench.nano.corpus import Snippet
from tunefront.bench.nano.tokens import LABELS
from tunefront.bench.suites.toml import read_suite


def library_snippets(files: int = 6, sentences: int = 60) -> list[Snippet]:
    """Two libraries with `files` files of `sentences` sentences each."""
    return [
        Snippet(f"Sentence {number} of {library} {place}.", library, f"{library}/f{place}.py", "summary")
        for library in ("first", "second")
        for place in range(files)
        for number in range(sentences)
    ]


def test_classes_are_files_of_one_library_in_turn() -> None:
    made = trials.trials(library_snippets(), 2, 8)
    assert [trial.name.split("-")[-1] for trial in made] == ["first", "second"] * 4
    for trial in made:
        assert len({snippet.path for snippets in trial.classes for snippet in snippets}) == 2
        assert {snippet.library for snippets in trial.classes for snippet in snippets} == {trial.name.split("-")[-1]}
        assert all(len(snippets) == trials.TRAIN + trials.TEST for snippets in trial.classes)
        assert set(trial.labels) <= {label.strip() for label in LABELS}


def test_short_files_are_no_classes() -> None:
    assert trials.trials(library_snippets(), 2, 2) != []
    with pytest.raises(ValueError, match="no library has 2 files"):
        trials.trials(library_snippets(sentences=20), 2, 2)


def test_a_folder_is_a_task_of_the_suite(tmp_path: Path) -> None:
    trial = trials.trials(library_snippets(), 3, 1)[0]
    task = load_task(f"dir:{trials.write(trial, tmp_path)}")
    assert task.label_names == trial.labels
    assert Counter(int(row.label) for row in task.splits["train"]) == dict.fromkeys(range(3), trials.TRAIN)
    assert Counter(int(row.label) for row in task.splits["test"]) == dict.fromkeys(range(3), trials.TEST)
    texts = {split: {row.fields["text"] for row in rows} for split, rows in task.splits.items()}
    assert not texts["train"] & texts["test"]
    assert task.input_fields == ("text",)  # where a sentence comes from is not shown


def test_variants_differ_in_their_labels_alone() -> None:
    trial = trials.trials(library_snippets(), 2, 1)[0]
    variants = {variant.name.removeprefix(f"{trial.name}-"): variant for variant in trial.variants}
    assert set(variants) == {"permuted", "words", "letters", "files"}
    assert variants["permuted"].labels == trial.labels[::-1]
    assert all(variant.classes == trial.classes for variant in variants.values())
    assert set(variants["files"].labels) == {Path(snippets[0].path).stem for snippets in trial.classes}


def test_suites_ask_for_the_curve_the_orders_and_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "held_out_snippets", lambda packages: library_snippets())
    monkeypatch.setattr(trials, "WAYS", {2: 2, 4: 1})
    suites = trials.write_all(tmp_path, None)
    assert [suite.stem for suite in suites] == ["curve", "order", "labels"]
    for place in (*suites, tmp_path / "few_shot.toml", tmp_path / "against_fresh.toml"):
        wrong = ErrorCollector()
        suite = read_suite(str(place), wrong)
        wrong.raise_if_any()
        for task in suite.parts[0].tasks:
            if task.startswith("dir:"):
                assert json.loads((tmp_path / task.removeprefix("dir:") / "meta.json").read_text())["label_names"]
    assert len(read_suite(str(suites[2]), ErrorCollector()).parts[0].tasks) == 3 * 5
