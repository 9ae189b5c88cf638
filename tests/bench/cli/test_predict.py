"""`tunefront run --keep checkpoints`, `tunefront predict` and `tunefront export`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_toy
from tunefront.bench.records import Record, load_records
from tunefront.bench.records.store import Store

pytestmark = pytest.mark.usefixtures("reports")


@pytest.fixture
def kept(call: Any, backbones: dict[str, str], tmp_path: Path) -> Record:
    """The record of a cell whose checkpoint was kept in `out`."""
    task = f"dir:{make_toy(tmp_path / 'toy', rows=(24, 4, 12))}"
    selection = ["--method", "lora", "--backbone", backbones["bert"], "--task", task, "--shots", "24", "--seeds", "0"]
    settings = ["--set", "steps=2", "--set", "latency_queries=0", "--set", "learning_rate=0.001"]
    result = call("run", "embedded", *selection, *settings, "--workers", "1", "--keep", "checkpoints", "--out", "out")
    assert result.exit_code == 0, result.output
    (record,) = load_records(tmp_path / "out")
    return record


def test_what_was_kept_answers_rows_and_is_exported(kept: Record, call: Any, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (tmp_path / "toy" / "test.jsonl").read_text().splitlines()]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows))
    place = f"out/records/{kept.key}.json"
    result = call("predict", place, "new.jsonl")
    assert result.exit_code == 0, result.output
    assert "12 rows answered" in result.stdout
    answers = [json.loads(line) for line in (tmp_path / "new.jsonl.predictions.jsonl").read_text().splitlines()]
    recorded = Store(tmp_path / "out").predictions(kept.key)
    assert [answer["scores"]["bad"] for answer in answers] == recorded["score_1"].tolist()
    assert "peft" in (kept.servable or ())
    for form in set(kept.servable or ()) - ({"peft"} if find_spec("peft") is None else set()):
        result = call("export", place, f"as_{form}", "--to", form)
        assert result.exit_code == 0, result.output
        assert (tmp_path / f"as_{form}" / "manifest.json").is_file()
    result = call("predict", "as_safetensors", "new.jsonl", "--out", "again.csv")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "out/records/nothing.json", "new.csv"), "no record"),
        (("predict", "out", "new.csv"), "results folder"),
        (("predict", "{}", "nothing.csv"), "nothing.csv"),
        (("predict", "{}", "new.csv"), "'text'"),
        (("predict", "{}", "new.csv", "--out", "x.txt"), ".jsonl, .csv, .parquet"),
        (("predict", "{}", "new.csv", "--backbone", "nowhere"), "nowhere"),
        (("predict", "{}", "new.csv", "--method", "nothing.py"), "nothing.py"),
        (("export", "{}", "x", "--to", "onnx"), "merged"),
        (("export", "{}", "toy", "--to", "merged"), "exists already"),
    ],
)
def test_mistakes_are_one_paragraph(
    arguments: tuple[str, ...], message: str, kept: Record, call: Any, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("txt\ngood\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    result = call(*(argument.format(f"out/records/{kept.key}.json") for argument in arguments))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_only_checkpoints_can_be_kept(call: Any) -> None:
    result = call("run", "--keep", "everything")
    assert result.exit_code == 2
    assert "checkpoints" in result.output
