"""The commands on results at URLs: a real S3 server, and memory://."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.records.made import changed
from tests.conftest import make_toy
from tests.reports.answered import world
from tests.reports.factory import failed
from tests.s3 import Server, connected
from tunefront.bench.records import load_plans, load_records
from tunefront.bench.records.store import Store
from tunefront.bench.records.urls import UrlFolder


@pytest.fixture(params=["memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a results folder; what is in memory is forgotten."""
    if request.param == "s3":
        yield request.getfixturevalue("s3").new_url()
        return
    import fsspec

    yield f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def small(backbones: dict[str, str], tmp_path: Path) -> tuple[str, ...]:
    """The options of a run of one cell."""
    task = f"dir:{make_toy(tmp_path / 'toy', rows=(24, 4, 12))}"
    selection = ("--method", "lora", "--backbone", backbones["bert"], "--task", task, "--shots", "24", "--seeds", "0")
    settings = ("--set", "steps=2", "--set", "latency_queries=0", "--set", "learning_rate=0.001", "--workers", "1")
    return ("run", "embedded", *selection, *settings, "--keep", "checkpoints")


@pytest.mark.usefixtures("reports")
def test_a_run_its_resumption_and_what_uses_its_checkpoint(
    url: str, small: tuple[str, ...], call: Any, tmp_path: Path
) -> None:
    first = call(*small, "--out", url, "--plan")
    assert first.exit_code == 0, first.output
    (record,) = load_records(url)
    assert [plan.status for plan in load_plans(url)] == ["planned"]
    again = call(*small, "--out", f"{url}/")
    assert again.exit_code == 0, again.output
    assert "1 of them recorded before" in again.stdout
    (tmp_path / "new.jsonl").write_text(json.dumps({"text": "good"}) + "\n")
    place = f"{url}/records/{record.key}.json"
    assert call("predict", place, "new.jsonl").exit_code == 0
    assert call("export", place, "exported", "--to", "safetensors").exit_code == 0
    assert (tmp_path / "exported" / "manifest.json").is_file()
    for arguments in (("predict", place, "new.jsonl", "--out", f"{url}/x.csv"), ("export", place, url, "--to", "peft")):
        result = call(*arguments)
        assert result.exit_code == 2
        assert "is a URL" in " ".join(result.stderr.split())
    assert call("stale", url).exit_code == 0
    UrlFolder(url).remove(f"records/{record.key}.json")
    mended = call(*small, "--out", url)
    assert mended.exit_code == 0, mended.output
    assert "before" not in mended.stdout


def test_urls_and_a_folder_make_one_report_at_a_url(url: str, call: Any, tmp_path: Path) -> None:
    world(url, {"full": 0.8}, draws=(0, 1))
    world(f"{url}-b", {"full": 0.8, "lora": 0.7}, draws=(0,))
    world(tmp_path / "c", {"ia3": 0.6}, draws=(0, 1))
    places = (url, f"{url}-b", str(tmp_path / "c"))
    result = call("report", *places, "--out", str(tmp_path / "r"), "--format", "csv,md")
    assert result.exit_code == 0, result.output
    assert "2 cells are in several folders" in " ".join(result.stderr.split())
    assert len((tmp_path / "r" / "report.csv").read_text().splitlines()) == 1 + 4 + 2 + 4
    if url.startswith("memory"):
        return
    assert call("report", *places, "--out", f"{url}-r", "--format", "csv").exit_code == 0
    assert UrlFolder(f"{url}-r").has("report.csv")
    for place in places[:2]:
        assert load_records(place), "what was read is still there"


def test_two_urls_are_compared_and_pushed(url: str, call: Any, tmp_path: Path) -> None:
    world(url, {"full": 0.8})
    world(f"{url}-new", {"full": 0.8})
    result = call("diff", url, f"{url}-new")
    assert result.exit_code == 0, result.output
    assert "1 the same" in result.stdout
    pytest.importorskip("tensorboard")
    pushed = call("push", url, "--to", f"tensorboard:{tmp_path / 'runs'}")
    assert pushed.exit_code == 0, pushed.output
    assert "6 new" in pushed.stdout


def test_what_can_go_is_listed_and_deleted(url: str, call: Any) -> None:
    world(url, {"full": 0.8}, draws=(0,))
    store = Store(url)
    store.write(changed(failed(label="lora", recipe={}, settings={}), {"environment.created_at": "2025-01-01"}))
    assert "1 of 3 records" in call("prune", url, "--dry-run").stdout
    assert len(load_records(url)) == 3
    result = call("prune", url, "--yes")
    assert result.exit_code == 0, result.output
    assert [record.status for record in load_records(url)] == ["ok", "ok"]
    assert len(store.remote.listing("predictions")) == 2


def test_nothing_is_deleted_at_s3_while_a_cell_runs(s3: Server, call: Any) -> None:
    store = Store(s3.new_url())
    store.write(failed(label="lora", recipe={}, settings={}))
    with store.claim("1" * 64):
        result = call("prune", store.location, "--yes")
    assert result.exit_code == 2
    assert "1 cell in it is running" in " ".join(result.stderr.split())
    assert call("prune", store.location, "--yes").exit_code == 0
    assert load_records(store.location) == []


@pytest.mark.parametrize("command", ["run", "report", "diff", "prune", "stale", "push", "predict", "export", "plan"])
def test_a_place_that_cannot_be_reached_is_one_paragraph(
    command: str, small: tuple[str, ...], call: Any, tmp_path: Path
) -> None:
    pytest.importorskip("s3fs")
    (tmp_path / "new.jsonl").write_text(json.dumps({"text": "good"}) + "\n")
    url = "s3://bucket/results"
    arguments = {
        "run": (*small, "--out", url),
        "diff": ("diff", url, url),
        "push": ("push", url, "--to", f"tensorboard:{tmp_path / 'runs'}"),
        "predict": ("predict", f"{url}/records/1.json", "new.jsonl"),
        "export": ("export", f"{url}/records/1.json", "x", "--to", "peft"),
        "plan": ("plan", "--backbone", small[5], "--length", "8", "--out", url),
    }
    with connected(Server("http://127.0.0.1:9")):
        result = call(*arguments.get(command, (command, url)))
    assert result.exit_code == 2, result.output
    assert "127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.output
    assert "bug" not in result.output
    assert not list(tmp_path.glob("s3:*"))
