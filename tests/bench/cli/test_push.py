"""`tunefront push`: what it prints, its exit codes, and its messages about what cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.reports.factory import failed, record
from tests.reports.trackers import server
from tunefront.bench.records.store import Store

RECORDS = (
    record(label="full", recipe={}, settings={}),
    record(label="ia3", recipe={}, settings={}),
    failed(label="bitfit", recipe={}, settings={}),
)


@pytest.fixture
def results(tmp_path: Path) -> str:
    store = Store(tmp_path / "mine")
    store.prepare()
    for each in RECORDS:
        store.write(each, None)
    return "mine"


def test_a_push_says_what_it_did_and_where(call: Any, results: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = call("push", results, "--to", "tensorboard:runs")
    assert first.exit_code == 0, first.output
    assert first.stdout.splitlines()[-1] == "3 runs in runs for TensorBoard: 3 new."
    assert len(list(tmp_path.joinpath("runs").iterdir())) == 3
    assert call("push", results, "--to", "tensorboard:runs").stdout.splitlines()[-1].endswith(": 3 unchanged.")


def test_records_are_chosen(call: Any, results: str) -> None:
    pytest.importorskip("tensorboard")
    result = call("push", results, "--to", "tensorboard:runs", "--where", "status=ok")
    assert "2 runs" in result.stdout, result.output


def test_the_python_call_takes_a_folder_or_records(
    results: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    import tunefront

    monkeypatch.chdir(tmp_path)
    assert tunefront.push(results, to="tensorboard:runs").new == len(RECORDS)
    assert tunefront.push(tunefront.load_records(results), to="tensorboard:runs").same == len(RECORDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine", "--to", "mlfow:http://ann:hush@host"), "did you mean 'mlflow'"),
        (("mine", "--to", "tensorboard"), "no place is given"),
        (("nowhere", "--to", "tensorboard:runs"), "nowhere does not exist"),
        (("file", "--to", "tensorboard:runs"), "file is a file"),
        (("mine", "--to", "tensorboard:file"), "file is a file; give a folder"),
        (("mine", "--to", "tensorboard:file/runs"), "file"),
        (("mine", "--to", "tensorboard:runs", "--experiment", "mine"), "for mlflow only"),
        (("mine", "--to", "tensorboard:runs", "--where", "colour=red"), "no field 'colour'"),
        (("mine", "--to", f"mlflow:http://ann:hush@127.0.0.1:{server.free_port()}"), "cannot be reached"),
    ],
)
def test_a_mistake_is_a_paragraph(
    call: Any, results: str, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    for extra in ("mlflow", "tensorboard"):
        pytest.importorskip(extra)
    tmp_path.joinpath("file").write_text("x")
    result = call("push", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "hush" not in result.output
    assert not tmp_path.joinpath("runs").exists()
    debug = call("push", *arguments, "--debug")
    assert "hush" not in debug.output


@pytest.mark.parametrize(
    ("to", "extra"), [("mlflow:http://localhost:1", "mlflow"), ("tensorboard:runs", "tensorboard")]
)
def test_without_the_extra_the_error_says_how_to_get_it(
    call: Any, results: str, monkeypatch: pytest.MonkeyPatch, to: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == extra]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, extra, None)
    result = call("push", results, "--to", to)
    assert result.exit_code == 2, result.output
    assert f"pip install 'tunefront[{extra}]'" in result.stderr


def test_an_interruption_says_how_to_go_on(call: Any, results: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tunefront.reports.trackers.event_files import EventFiles

    def interrupted(*arguments: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(EventFiles, "push", interrupted)
        result = call("push", results, "--to", "tensorboard:runs")
    assert result.exit_code == 130
    assert "goes on where it stopped" in result.stderr
    assert call("push", results, "--to", "tensorboard:runs").exit_code == 0
