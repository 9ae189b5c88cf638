"""A tiny share of every part, so that it cannot rot, and what counts as wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.torture.figures import WRONG, Figures
from tests.torture.forked import Ended
from tests.torture.mutate import bytes_of, json_of, text_of
from tests.torture.stores import Watch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own, which has never computed."""
    return subprocess.run(
        [sys.executable, "-m", "tests.torture", *arguments, "--seed", "1", "--jobs", "1"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        pytest.param(("kills", "fuzz"), ("--suite", "few", "--share", "0.001"), id="short"),
        pytest.param(("kills", "writers", "faults", "fuzz"), ("--share", "0.05"), id="all", marks=pytest.mark.slow),
    ],
)
def test_a_tiny_share_goes_well(parts: tuple[str, ...], more: tuple[str, ...], tmp_path: Path) -> None:
    completed = run(tmp_path, *(word for part in parts for word in ("--only", part)), *more)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert {line.split()[0] for line in completed.stdout.splitlines() if line} >= {*parts, "seed"}
    assert not list(tmp_path.glob("torture*")), "its folder is deleted if nothing went wrong"


def test_every_figure_that_must_be_0_counts_as_wrong() -> None:
    figures = Figures()
    figures.add("kills", "forked", tried=3)
    assert figures.wrong == 0
    for name in WRONG:
        other = Figures()
        other.fault("kills", "forked", name, "what went wrong")
        assert other.wrong == 1
        figures.merge([other])
    assert figures.wrong == len(WRONG)
    assert figures.total("tried") == 3
    assert figures.table().count("what went wrong") == len(WRONG)


@pytest.mark.parametrize(
    ("ended", "names"),
    [
        (Ended(0, "fine", "", 0.1), []),
        (Ended(-9, "", "", 0.1, hung=True), ["hangs"]),
        (Ended(1, "", "Traceback (most recent call last):", 0.1), ["tracebacks"]),
        (Ended(1, "", "error: this is a bug in tunefront, not in your call", 0.1), ["bugs"]),
    ],
)
def test_what_no_command_may_do_is_counted(ended: Ended, names: list[str]) -> None:
    figures = Figures()
    figures.judge("fuzz", "options", ended)
    assert [name for name in WRONG if figures.total(name)] == names


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """A folder with one finished record."""
    for name in ("records", "predictions"):
        (tmp_path / name).mkdir()
    (tmp_path / "records" / "a.json").write_text(json.dumps({"status": "ok"}))
    (tmp_path / "predictions" / "a.parquet").write_bytes(b"PAR1 rows PAR1")
    watch = Watch(tmp_path, "kills", "forked", Figures())
    watch.look()
    assert watch.figures.wrong == 0
    assert set(watch.finished) == {"a"}
    return watch


def wrong(watch: Watch) -> list[str]:
    watch.look()
    return [name for name in WRONG if watch.figures.total(name)]


def test_a_record_that_is_gone_is_lost(watch: Watch) -> None:
    (watch.out / "records" / "a.json").unlink()
    assert wrong(watch) == ["lost"]


def test_a_finished_record_that_is_written_again_is_doubled(watch: Watch) -> None:
    other = watch.out / "other"
    other.write_text(json.dumps({"status": "ok"}))
    other.rename(watch.out / "records" / "a.json")
    assert wrong(watch) == ["doubled"]


def test_half_a_file_is_torn(watch: Watch) -> None:
    (watch.out / "records" / "b.json").write_text('{"status": "o')
    assert wrong(watch) == ["torn"]


def test_half_of_the_predictions_are_torn(watch: Watch) -> None:
    (watch.out / "records" / "b.json").write_text(json.dumps({"status": "ok"}))
    (watch.out / "predictions" / "b.parquet").write_bytes(b"PAR1 rows")
    assert wrong(watch) == ["torn"]


def test_a_failed_record_may_be_written_again(watch: Watch) -> None:
    for status in ("failed", "ok"):
        (watch.out / "predictions" / "b.parquet").write_bytes(b"PAR1 rows PAR1")
        (watch.out / "records" / "b.json").write_text(json.dumps({"status": status}))
        assert wrong(watch) == []


def test_the_same_seed_makes_the_same_inputs() -> None:
    whole = {"key": "k", "a": {"b": 1, "c": [1, 2]}, "d": "text"}
    text = 'a = 1\nb = "two"\n'

    def made(seed: int) -> list[object]:
        generator = random.Random(seed)
        return [
            (text_of(generator, text), json_of(generator, whole, keep=("key",)), bytes_of(generator, text.encode()))
            for _ in range(20)
        ]

    assert made(1) == made(1) != made(2)
    assert whole == {"key": "k", "a": {"b": 1, "c": [1, 2]}, "d": "text"}
