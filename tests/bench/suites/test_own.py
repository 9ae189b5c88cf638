"""Suite `own`: what a task of the user's runs where the call names no suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench.data.sources.test_own_file import csv_file
from tests.conftest import make_toy
from tunefront.bench.cells import Cell
from tunefront.bench.check.lengths import default_backbone
from tunefront.bench.data.sources import load_task
from tunefront.bench.errors import UserErrors
from tunefront.bench.models.config import row_tokens
from tunefront.bench.settings import RunConfig
from tunefront.bench.suites.expand import OWN, QUICK, expand, suite_for
from tunefront.bench.suites.overrides import Overrides

LONG = 30
"""Words of a long row; a short one has three."""


def write_rows(folder: Path, rows: int, long: int = 0, test: int = 40) -> str:
    """A CSV file with this many train rows, the first `long` of them long, and one with test rows: its name."""
    for name, count in (("train", rows), ("test", test)):
        words = [LONG if name == "train" and row < long else 3 for row in range(count)]
        lines = [f"{'w1 ' * (n - 1)}w{row % 9},{row},{'ab'[row % 2]}" for row, n in enumerate(words)]
        (folder / f"{name}.csv").write_text("text,number,label\n" + "\n".join(lines) + "\n")
    return f"file:{folder}/train.csv?test={folder}/test.csv"


def cells_of(task: str, *backbones: str, **options: Any) -> tuple[Cell, ...]:
    return expand(None, Overrides(tasks=[task], backbones=backbones or None, **options)).cells


@pytest.mark.parametrize(
    ("tasks", "suite"),
    [
        (None, QUICK),
        (["docstrings/kind", "sentiment/movies"], QUICK),
        (["dir:mine"], OWN),
        (["hub:stanfordnlp/sst2"], OWN),
        (["docstrings/kind", "file:mine.csv"], OWN),
    ],
)
def test_a_call_without_a_suite_runs_own_for_the_users_tasks(tasks: list[str] | None, suite: str) -> None:
    assert suite_for(Overrides(tasks=tasks)) == suite


def test_a_file_is_a_task_of_the_users(tmp_path: Path) -> None:
    assert suite_for(Overrides(data=[csv_file(tmp_path)])) == OWN


def test_nothing_of_quick_is_inherited(tmp_path: Path, backbones: dict[str, str]) -> None:
    expansion = expand(None, Overrides(tasks=[write_rows(tmp_path, 100)], backbones=[backbones["bert"]]))
    assert expansion.suite == OWN
    assert not any("settings that the suite chose" in line for line in expansion.announcements)


@pytest.mark.parametrize(("long", "uncut"), [(0, 140), (7, 133), (100, 140)])
def test_lengths_leave_at_least_the_stated_share_uncut(
    tmp_path: Path, backbones: dict[str, str], long: int, uncut: int
) -> None:
    """7 of 140 rows are 5 %: the length of the others leaves 95 % uncut."""
    name, backbone = write_rows(tmp_path, 100, long), backbones["bert"]
    (length,) = {cell.config.max_length for cell in cells_of(name, backbone)}
    task = load_task(name)
    rows = [*task.splits["train"], *task.splits["test"]]
    whole = [tokens for tokens, _ in row_tokens(backbone, task, None, rows, RunConfig()) or ()]
    assert length is not None
    assert sum(tokens <= length for tokens in whole) == uncut
    assert length - 8 < sorted(whole)[uncut - 1]


def test_lengths_are_those_of_the_task_whatever_rows_are_drawn(tmp_path: Path, backbones: dict[str, str]) -> None:
    name = write_rows(tmp_path, 100, long=50)
    assert len({cell.config.max_length for cell in cells_of(name, backbones["bert"], shots=[2, 64, None])}) == 1


def test_a_length_that_the_call_gives_stays(tmp_path: Path, backbones: dict[str, str]) -> None:
    cells = cells_of(write_rows(tmp_path, 100), backbones["bert"], settings={"max_length": 7, "epochs": 2})
    assert {(cell.config.max_length, cell.recipe.epochs) for cell in cells} == {(7, 2.0)}


@pytest.mark.parametrize(("rows", "epochs"), [(100, 20.0), (1000, 2.2)])
def test_epochs_follow_from_the_rows_that_are_trained_on(
    tmp_path: Path, backbones: dict[str, str], rows: int, epochs: float
) -> None:
    """2,000 row passes in all, up to 20 epochs; a tenth of the rows, at least 32, chooses the rate."""
    cells = cells_of(write_rows(tmp_path, rows), backbones["bert"], methods=["full", "ia3"])
    assert {cell.recipe.epochs for cell in cells} == {epochs}


def test_many_classes_are_trained_for_longer(tmp_path: Path, backbones: dict[str, str]) -> None:
    """Each of 100 classes gets 40 row passes: 4,000 in all, on the 468 rows that are not held out."""
    rows = "".join(f"w{row % 9} w{row // 9},label {row % 100}\n" for row in range(650))
    (tmp_path / "many.csv").write_text(f"text,label\n{rows}")
    cells = cells_of(f"file:{tmp_path / 'many.csv'}", backbones["bert"], methods=["ia3"])
    assert {cell.recipe.epochs for cell in cells} == {8.5}


def test_every_trained_method_tries_three_rates_on_held_out_rows(tmp_path: Path, backbones: dict[str, str]) -> None:
    cells = cells_of(write_rows(tmp_path, 100), backbones["bert"])
    names = {cell.method.name for cell in cells}
    rates = {name: {cell.recipe.learning_rate for cell in cells if cell.method.name == name} for name in names}
    assert names == {"full", "top_layers", "features", "houlsby", "lora", "ia3"}
    assert {len(tried) for tried in rates.values()} == {3}
    assert all(cell.config.select for cell in cells)


def test_a_small_task_is_trained_at_one_rate_each(tmp_path: Path, backbones: dict[str, str]) -> None:
    cells = cells_of(write_rows(tmp_path, 40), backbones["bert"])
    assert len(cells) == len({cell.method.name for cell in cells}) == 6
    assert not any(cell.config.select for cell in cells)


def test_a_language_model_is_trained_and_prompted(tmp_path: Path, language_models: dict[str, str]) -> None:
    cells = cells_of(write_rows(tmp_path, 100), language_models["llama"])
    assert {cell.method.name for cell in cells} == {"ia3", "lora", "features", "icl"}
    assert {cell.shots for cell in cells} == {96}


def test_all_test_rows_are_scored_up_to_a_cap(tmp_path: Path, backbones: dict[str, str]) -> None:
    task = write_rows(tmp_path, 100, test=1200)
    assert {cell.config.eval_rows for cell in cells_of(task, backbones["bert"])} == {1000}


@pytest.mark.parametrize("fetched_first", [False, True])
def test_multiple_choice_runs_a_language_model(
    tmp_path: Path, fetched: Callable[[str], None], fetched_first: bool
) -> None:
    """SmolLM2 where it was fetched, else nano, and a warning says how to fetch."""
    rows = "\n".join(f"w{row % 9} w1,w2,w3,{'AB'[row % 2]}" for row in range(100))
    (tmp_path / "mc.csv").write_text(f"question,A,B,answer\n{rows}\n")
    if fetched_first:
        fetched("smollm2")
    expansion = expand(None, Overrides(data=[tmp_path / "mc.csv"]))
    assert {cell.backbone for cell in expansion.cells} == {"smollm2" if fetched_first else "nano"}
    assert {cell.backbone for cell in expansion.cells} == {default_backbone("multiple choice")}, (
        "`check` counts its tokens"
    )
    assert any("tunefront fetch smollm2" in warning for warning in expansion.warnings) != fetched_first


def test_classification_does_not_ask_for_a_language_model(tmp_path: Path) -> None:
    expansion = expand(None, Overrides(tasks=[f"dir:{make_toy(tmp_path / 'toy')}"]))
    assert {cell.backbone for cell in expansion.cells} == {"minilm"}
    assert not expansion.warnings


def test_four_lines_say_what_will_happen(tmp_path: Path, backbones: dict[str, str]) -> None:
    """The task; the length and how many rows it leaves uncut; methods, rates and rows to choose on; training."""
    name = write_rows(tmp_path, 100, long=3)
    task, lengths, methods, training = expand(
        None, Overrides(tasks=[name], backbones=[backbones["bert"]])
    ).announcements
    assert "100 train and 40 test rows" in task
    assert "97.9 % of 140 rows" in lengths
    assert "3 settings" in methods
    assert "32 held-out rows of train" in methods
    assert "68 rows for 20 epochs in batches of 16" in training
    assert "Scoring: all 40 test rows" in training


def test_settings_of_which_none_is_chosen_are_counted(tmp_path: Path, backbones: dict[str, str]) -> None:
    """There are rows enough; the call holds none out."""
    overrides = Overrides(
        tasks=[write_rows(tmp_path, 100)], backbones=[backbones["bert"]], settings={"select": False}, methods=["lora"]
    )
    expansion = expand(None, overrides)
    assert len(expansion.cells) == 3
    assert "3 settings" in expansion.announcements[2]
    assert "too few" not in expansion.announcements[2]


def test_own_asks_for_data() -> None:
    with pytest.raises(UserErrors, match="--data FILE"):
        expand(OWN)
