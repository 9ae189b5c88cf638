"""`tunefront diff`: what it prints, its exit codes, and its messages about unusable results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.reports.answered import world
from tests.reports.compare.difference.test_diff import seeded
from tests.reports.factory import failed, record
from tunefront.bench.records.record import RECIPE_FIELDS, SETTINGS_FIELDS
from tunefront.bench.records.store import Store

METHODS = {"full": 0.8, "houlsby:bottleneck=64": 0.8}


@pytest.fixture
def old(tmp_path: Path) -> str:
    seeded(tmp_path / "old", 0, 0, METHODS)
    return "old"


@pytest.fixture
def same_but_a_seed(tmp_path: Path) -> str:
    seeded(tmp_path / "seed", 0, 1, METHODS)
    return "seed"


@pytest.fixture
def worse(tmp_path: Path) -> str:
    seeded(tmp_path / "worse", 0, 1, {**METHODS, "full": 0.5})
    return "worse"


def test_a_seed_alone_passes_the_guard(call: Any, old: str, same_but_a_seed: str) -> None:
    result = call("diff", old, same_but_a_seed, "--fail-on-regression")
    assert result.exit_code == 0, result.output
    assert "No regression in 2 methods" in result.stdout


def test_a_real_loss_fails_the_guard(call: Any, old: str, worse: str) -> None:
    result = call("diff", old, worse, "--fail-on-regression")
    assert result.exit_code == 1, result.output
    assert "1 of 2 methods is worse: full" in result.stdout


def test_without_the_guard_a_loss_is_only_shown(call: Any, old: str, worse: str) -> None:
    result = call("diff", old, worse)
    assert result.exit_code == 0
    assert "1 of 2 methods is worse" in result.stdout


def test_a_large_tolerance_passes_the_guard(call: Any, old: str, worse: str) -> None:
    assert call("diff", old, worse, "--fail-on-regression", "--tolerance", "70").exit_code == 0


def test_the_table_fits_80_columns(call: Any, old: str, worse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("diff", old, worse).stdout.splitlines()
    (row,) = (line for line in lines if line.strip().startswith("houlsby:bottleneck=64"))
    assert "no change seen" in row
    assert len(row) <= 80


def test_one_run_warns_and_passes(call: Any, tmp_path: Path) -> None:
    for name, level in (("a", 0.8), ("b", 0.3)):
        seeded(tmp_path / name, 0, 0, {"full": level}, draws=(0,))
    result = call("diff", "a", "b", "--fail-on-regression")
    assert result.exit_code == 0
    assert "does not guard" in result.stderr
    assert "McNemar" in result.stdout
    assert call("diff", "a", "b", "--fail-on-regression", "--checkpoints").exit_code == 1


def test_json_has_every_number(call: Any, old: str, worse: str) -> None:
    known = json.loads(call("diff", old, worse, "--format", "json").stdout)
    assert known["regressed"]
    assert known["worse"] == ["full"]
    (change,) = (one for one in known["methods"] if one["label"] == "full")
    assert change["low"] < change["change"] < change["high"] < 0


def test_json_is_strict_where_a_score_is_undefined(call: Any, old: str, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    odd = record(label="full", task="sst2", draw_seed=9, scores__test={"accuracy": None}, recipe={}, settings={})
    Store(tmp_path / "new").write(odd, None)
    result = call("diff", old, "new", "--format", "json")
    assert json.loads(result.stdout)["lost"][0]["status"] == "no score"


def test_markdown_escapes_hostile_names(call: Any, tmp_path: Path) -> None:
    hostile = "<img src=x>|@someone\x1b[31m"
    for name in ("a", "b"):
        world(tmp_path / name, {hostile: 0.8}, method="full")
    for format in ("md", "text", "json"):
        result = call("diff", "a", "b", "--format", format)
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.stdout
    text = call("diff", "a", "b", "--format", "md").stdout
    assert "<img" not in text
    assert "@someone" not in text


def test_a_failure_is_named_with_its_reason(call: Any, old: str, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    recipe, settings = dict.fromkeys(RECIPE_FIELDS), dict.fromkeys(SETTINGS_FIELDS)
    Store(tmp_path / "new").write(failed(label="full", task="sst2", seed=5, recipe=recipe, settings=settings), None)
    result = call("diff", old, "new", "--fail-on-regression")
    assert result.exit_code == 1
    assert "loss is not finite" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("old", "nowhere"), "nowhere does not exist"),
        (("nowhere", "neither"), "2 errors"),
        (("old", "empty"), "empty has no records"),
        (("old", "old", "--format", "pdf"), "text, md, json"),
        (("old", "old", "--tolerance", "-1"), "at least 0"),
        (("old", "old", "--tolerance", "nan"), "at least 0"),
        (("old", "old", "--allow", "dtyp"), "did you mean 'dtype'"),
        (("old", "old", "--where", "label=none"), "no record has label=none"),
        (("old", "other"), "nothing can be compared"),
    ],
)
def test_a_mistake_is_one_paragraph(
    call: Any, old: str, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    world(tmp_path / "other", {"lora": 0.8})
    result = call("diff", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not result.stdout


def test_a_memory_url_is_read(call: Any) -> None:
    import fsspec

    for name in ("a", "b"):
        world(f"memory://{name}", {"full": 0.8})
    try:
        result = call("diff", "memory://a", "memory://b")
    finally:
        fsspec.filesystem("memory").store.clear()
    assert result.exit_code == 0, result.output
    assert "1 the same" in result.stdout
