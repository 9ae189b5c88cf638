"""Announcements before a run, and settings of a suite that do not apply to other tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.models.gguf.files import write_model
from tunefront.bench.data.sources import load_task
from tunefront.bench.models.config import tokenizer_of
from tunefront.bench.models.families.encoder import row_lengths
from tunefront.bench.suites.expand import Expansion, expand
from tunefront.bench.suites.overrides import Overrides

SUITE = """
tasks = ["dir:own"]
methods = ["features"]
shots = [30]

[recipe]
epochs = 4

[recipe.features]
learning_rate = 1e-3

[settings]
max_length = 8
eval_rows = 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite next to its own task, and a task that it does not name, with longer texts."""
    for name, words in (("own", 3), ("mine", 20)):
        place = tmp_path / name
        place.mkdir()
        for split, count, start in (("train", 12, "w1"), ("test", 10, "w2")):
            rows = [
                {"text": " ".join([start] * words) + f" w{row % 9}", "label": ("a", "b")[row % 2], "n": row}
                for row in range(count)
            ]
            (place / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "suite.toml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(backbone: str, task: str | None = None, **settings: object) -> Expansion:
    tasks = None if task is None else [task]
    return expand("suite.toml", Overrides(backbones=[backbone], tasks=tasks, settings=settings))


def test_a_line_for_a_gguf_file_says_how_its_weights_are_stored(
    folder: Path, backbones: dict[str, str], language_models: dict[str, str]
) -> None:
    name = str(write_model(folder / "model.gguf", Path(language_models["llama"])))
    line = f"{name}: weights read from a GGUF file, most of them stored as F32, and used in float32."
    assert line in planned(name).announcements
    assert len(planned(backbones["bert"]).announcements) == 1


def test_a_line_for_each_task_says_what_was_read(folder: Path, backbones: dict[str, str]) -> None:
    (line,) = planned(backbones["bert"]).announcements
    for part in ("12 train and 10 test rows", "reads text, not n (numbers)", "a 50 %, b 50 % of 12 train rows"):
        assert part in line
    assert "12 rows drawn (all there are; 30 were requested)" in line
    assert "5 of 10 test rows scored" in line


def test_max_length_of_a_suite_is_for_its_own_tasks(folder: Path, backbones: dict[str, str]) -> None:
    own, other = planned(backbones["bert"]), planned(backbones["bert"], "dir:mine")
    assert {cell.config.max_length for cell in own.cells} == {8}
    assert {cell.config.max_length for cell in other.cells} == {None}
    assert {cell.config.eval_rows for cell in other.cells} == {5}
    assert {cell.config.max_length for cell in planned(backbones["bert"], "dir:mine", max_length=7).cells} == {7}
    by_place = planned(backbones["bert"], f"dir:{folder / 'own'}")
    assert {cell.config.max_length for cell in by_place.cells} == {8}


def test_what_was_chosen_for_other_tasks_is_said(folder: Path, backbones: dict[str, str]) -> None:
    _, line = planned(backbones["bert"], "dir:mine").announcements
    for part in ("dir:mine", "learning_rate by method", "epochs=4", "eval_rows=5"):
        assert part in line
    _, line = planned(backbones["bert"], "dir:mine", epochs=2, learning_rate=1e-2).announcements
    assert "epochs" not in line
    assert "learning_rate" not in line


def test_rows_that_are_cut_are_counted_and_warned_of(folder: Path, backbones: dict[str, str]) -> None:
    expansion = planned(backbones["bert"], "dir:mine", max_length=8)
    task = load_task("dir:mine")
    lengths = row_lengths(tokenizer_of(backbones["bert"]), task, task.splits["train"])
    assert min(lengths) > 8
    assert "12 rows drawn (all there are; 30 were requested; 12 cut to 8 tokens)" in expansion.announcements[0]
    (warning,) = expansion.warnings
    for part in ("12 of 12 train and 5 of 5 scored rows", "8 tokens", f"--set max_length={max(lengths)} cuts none"):
        assert part in warning
    whole = planned(backbones["bert"], "dir:mine", max_length=max(lengths))
    assert not whole.warnings
    assert f"none cut, longest {max(lengths)} tokens" in whole.announcements[0]


def test_a_model_that_takes_no_more_is_named(folder: Path, backbones: dict[str, str]) -> None:
    (folder / "mine" / "train.jsonl").write_text(
        "".join(
            json.dumps({"text": "w1 " * 3000 + f"w{row}", "label": ("a", "b")[row % 2]}) + "\n" for row in range(12)
        )
    )
    (warning,) = [text for text in planned(backbones["bert"], "dir:mine").warnings if "cut" in text]
    assert "accepts no more" in warning


def test_a_prompt_is_said_with_its_template(folder: Path, language_models: dict[str, str]) -> None:
    line = planned(language_models["gpt2"], "dir:mine").announcements[0]
    assert f"{language_models['gpt2']} by template plain: 12 rows drawn" in line


def test_more_shots_than_rows_are_the_rows_there_are(folder: Path, backbones: dict[str, str]) -> None:
    chosen = Overrides(backbones=[backbones["bert"]], shots=[100000, 50, 4, None])
    expansion = expand("suite.toml", chosen)
    assert [cell.shots for cell in expansion.cells] == [12, 4, None]
    (warning,) = [text for text in expansion.warnings if "100,000" in text]
    assert "12 training rows" in warning


def test_a_backbone_that_cannot_do_the_task_is_said_to_be_skipped(
    folder: Path, backbones: dict[str, str], language_models: dict[str, str]
) -> None:
    for split in ("train", "test"):
        rows = [{"text": f"w{row}", "label": row / 2} for row in range(5)]
        (folder / "mine" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    expansion = expand(
        "suite.toml", Overrides(backbones=[backbones["bert"], language_models["gpt2"]], tasks=["dir:mine"])
    )
    assert f"{language_models['gpt2']} is skipped: a language model cannot do" in expansion.announcements[0]
    assert f"{backbones['bert']}: 5 rows drawn" in expansion.announcements[0]


def test_a_label_with_a_percent_sign_is_shown_as_it_is(folder: Path, backbones: dict[str, str]) -> None:
    for split in ("train", "test"):
        rows = [{"text": f"w{row} {split}", "label": ("5%", "10%")[row % 2]} for row in range(6)]
        (folder / "mine" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "2 labels: 10% 50 %, 5% 50 % of 6 train rows" in planned(backbones["bert"], "dir:mine").announcements[0]
