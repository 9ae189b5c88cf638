"""Records are data: nothing that they name is run, and relative paths in them are found from other folders too."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests import ROOT
from tests.bench.execution.grids import Grid
from tests.bench.execution.streams import alone, toy_tasks
from tunefront.bench.cells import Cell, Stage
from tunefront.bench.cli.main import app
from tunefront.bench.errors import UserError
from tunefront.bench.execution import identity
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.run_cell import environment, record_of
from tunefront.bench.execution.stale import cell_of, count_missing, staleness
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

MakeGrid = Callable[..., Grid]
EVIL = """
from pathlib import Path
Path({marker!r}).touch()
from tunefront import Method
class Evil(Method):
    name = "evil"
    def attach(self, backbone): ...
"""


def made(cell: Cell, **changes: Any) -> Record:
    """The record that a cell would have, without running it."""
    return record_of(cell, Identity.of(cell), environment(cell, 1), "ok").model_copy(update=changes)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept(folder: Path | str, *records: Record) -> Path:
    store = Store(folder)
    store.prepare()
    for record in records:
        store.write(record)
    return Path(folder)


@pytest.mark.parametrize("command", ["stale", "report"])
def test_no_command_runs_code_that_a_record_names(
    command: str, grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, file = tmp_path / "it ran", tmp_path / "evil.py"
    file.write_text(EVIL.format(marker=str(marker)), encoding="utf-8")
    record = made(grid(methods=["full"]).cells()[0])
    named = {"method_file": str(file), "method_sources": {str(file): sha(file)}}
    ways: list[dict[str, Any]] = [
        {"method": f"{file}:Evil"},
        {"method": f"{file}:Evil", **named},
        {"method": f"{file}:Evil()"},
        {"method": "evil:x=1", **named},
        {"method": "evil", "method_file": str(file), "method_sources": None},
        {"method": "full", **named},
        {"method": f"full({file}:Evil)"},
        {"method": "full:evil.py:Evil"},
        {"method": "full", "method_sources": {"evil": "0"}, "method_file": "evil"},
    ]
    records = [record.model_copy(update={"key": f"{n:08}", "seed": n, **way}) for n, way in enumerate(ways)]
    results = kept(tmp_path / "results", *records)
    monkeypatch.chdir(tmp_path)
    shutil.copy(file, "full:evil.py")
    before, path = set(sys.modules), list(sys.path)
    result = CliRunner().invoke(app, [command, str(results), *(["--format", "csv"] if command == "report" else [])])
    assert result.exit_code in (0, 2), result.output
    assert "bug in tunefront" not in result.output
    assert not marker.exists()
    assert not {name for name in set(sys.modules) - before if "evil" in name}
    assert sys.path == path


@pytest.mark.parametrize(
    "named",
    [
        {"backbone": "~nosuch/m"},
        {"task": "dir:~nosuch/a"},
        {"task": "file:~nosuch/a.csv?label=x"},
        {"task": "frame:0123456789abcdef"},
        {"method": 'ia3:start="~nosuch/x"'},
        {"method": "not_imported", "method_sources": {"~nosuch/x": "0" * 64}},
        {"backbone": "a\0b"},
        {"task": "dir:a\0b"},
        {"method": "not_imported", "method_sources": {"a\0b": "0" * 64}},
    ],
)
def test_a_path_that_leads_nowhere_is_missing(named: dict[str, Any], grid: MakeGrid, tmp_path: Path) -> None:
    record = made(grid(methods=["ia3"]).cells()[0], **named)
    (entry,) = staleness([record], tmp_path)
    assert entry.missing, entry
    assert len(entry.missing[0]) < 300
    result = CliRunner().invoke(app, ["stale", str(kept(tmp_path / "results", record))])
    assert "bug in tunefront" not in result.output
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("spelled", ["/tmp/mine.py:Mine:x=1", "", "Full", "../full", "full:" + "(" * 5000])
def test_a_record_that_spells_no_method_says_so(spelled: str, grid: MakeGrid) -> None:
    record = made(grid(methods=["full"]).cells()[0], method=spelled)
    (entry,) = staleness([record])
    assert len(entry.changes) == 1
    with pytest.raises(UserError):
        cell_of(record)


def test_a_method_of_ones_own_is_compared_by_its_source_without_importing_it(grid: MakeGrid, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('it ran')\n", encoding="utf-8")
    named = {"method_file": "mine.py", "method_sources": {"mine.py": sha(file)}}
    record = made(grid(methods=["full"]).cells()[0], method="not_imported:size=2", **named)
    results = tmp_path / "results"
    assert [(entry.changes, entry.missing) for entry in staleness([record], results)] == [((), ())]
    file.write_text("raise SystemExit('it ran again')\n", encoding="utf-8")
    (entry,) = staleness([record], results)
    assert entry.changes == ("the method's source changed (mine.py)",)
    file.unlink()
    (entry,) = staleness([record], results)
    assert (entry.changes, entry.missing) == ((), ("file mine.py",))


def test_files_that_such_a_method_reads_and_what_is_around_it_are_compared(grid: MakeGrid, tmp_path: Path) -> None:
    source, start = tmp_path / "mine.py", tmp_path / "start, one.safetensors"
    for file in (source, start):
        file.write_text("one", encoding="utf-8")
    record = made(grid(methods=["full"]).cells()[0], method=f'not_imported:size=2,start="{start}"')
    record = record.model_copy(
        update={
            "method_sources": {"mine.py": sha(source)},
            "fingerprints": {**record.fingerprints, "file:start": sha(start)},
        }
    )
    assert [entry.changes for entry in staleness([record], tmp_path / "results")] == [()]
    start.write_text("two", encoding="utf-8")
    changed = record.model_copy(update={"versions": {**record.versions, "torch": "1.0"}})
    (entry,) = staleness([changed], tmp_path / "results")
    assert [change.split()[:4] for change in entry.changes] == [
        ["the", "file", "of", "start"],
        ["torch", "1.0", "then,", entry.changes[1].split()[3]],
    ]


def test_a_record_names_sources_without_the_folders_above(
    grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "narrow.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from tunefront.methods.houlsby import Houlsby\n"
        f"@dataclass(frozen=True)\nclass Narrow(Houlsby):\n    name: ClassVar[str] = 'narrow_{tmp_path.name[-1]}'\n",
        encoding="utf-8",
    )
    (cell,) = grid(methods=[f"{file}:Narrow"]).cells()
    elsewhere = Identity.of(cell)
    assert elsewhere.method_file == "narrow.py"
    assert set(elsewhere.method_sources or {}) == {"narrow.py", "tunefront.methods.houlsby"}
    monkeypatch.chdir(tmp_path)
    here = Identity.of(cell)
    assert here.method_file == "sub/narrow.py"
    assert (here.method_sources or {})["sub/narrow.py"] == sha(file)
    record = made(cell)
    assert str(tmp_path) not in record.model_dump_json(exclude={"backbone", "task"})
    assert [entry.changes for entry in staleness([record.model_copy(update={"method": "not_imported"})])] == [()]
    shipped = Identity.of(grid(methods=["full"]).cells()[0])
    assert (shipped.method_file, shipped.method_sources) == (None, None)


def test_a_file_that_the_call_names_is_run_and_its_methods_compared_by_their_class(
    grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"named_{tmp_path.name[-1]}_by_the_call"
    file = tmp_path / "own" / "named.py"
    file.parent.mkdir()
    file.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from tunefront.methods.houlsby import Houlsby\n"
        f"@dataclass(frozen=True)\nclass Named(Houlsby):\n    name: ClassVar[str] = {name!r}\n",
        encoding="utf-8",
    )
    code = (
        "from tests.bench.execution.test_stale import kept, made; from tests.bench.execution.grids import Grid\n"
        f"some = Grid({grid().backbone!r}, {grid().task!r}, ['{file}:Named'])\n"
        f"kept({str(tmp_path / 'elsewhere' / 'results')!r}, made(some.cells()[0]))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    monkeypatch.chdir(tmp_path)
    results = str(tmp_path / "elsewhere" / "results")
    without = CliRunner().invoke(app, ["stale", results])
    assert "file named.py (1 record)" in without.stdout.replace("\n", " ")
    named = CliRunner().invoke(app, ["stale", results, "--method", "own/named.py:Named"])
    assert (named.exit_code, "nothing is stale" in named.stdout) == (0, True), named.output
    wrong = CliRunner().invoke(app, ["stale", results, "--method", "nowhere.py"])
    assert (wrong.exit_code, "nowhere.py" in wrong.stderr) == (2, True)


@pytest.fixture
def from_below(grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A record in tmp_path/results, made in tmp_path from a backbone and a task in that folder."""
    some = grid(methods=["full"])
    model, data = f"model-{tmp_path.name}", f"data-{tmp_path.name}"
    shutil.copytree(some.backbone, tmp_path / model)
    shutil.copytree(some.task.removeprefix("dir:"), tmp_path / data)
    monkeypatch.chdir(tmp_path)
    (cell,) = Grid(f"./{model}", f"dir:./{data}", ["full"]).cells()
    record = made(cell)
    kept(tmp_path / "results", record)
    return record


def test_a_file_of_ones_own_is_found_from_above_the_results(
    grid: MakeGrid, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    some = grid(methods=["full"])
    names = [f"{part}-{tmp_path.name}.csv" for part in ("train", "test")]
    for name in names:
        Path(name).write_text("text,label\n" + "".join(f"row {name} {i},{i % 2}\n" for i in range(20)), "utf-8")
    (cell,) = Grid(some.backbone, f"file:{names[0]}?test={names[1]}", ["full"]).cells()
    record = made(cell)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    (entry,) = staleness([record], tmp_path / "results")
    assert (entry.changes, entry.missing) == ((), ())


def test_what_a_record_names_by_a_relative_path_is_found_from_above_its_results(
    from_below: Record, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    (entry,) = staleness([from_below], tmp_path / "results")
    assert (entry.changes, entry.missing) == ((), ())
    result = CliRunner().invoke(app, ["stale", str(tmp_path / "results")])
    assert result.exit_code == 0
    assert "nothing is stale" in result.stdout
    here = Path.cwd() / from_below.backbone  # another model of that name
    shutil.copytree(tmp_path / from_below.backbone, here)
    here.joinpath("vocab.txt").write_text("other", encoding="utf-8")
    (entry,) = staleness([from_below], tmp_path / "results")
    assert (entry.changes, entry.missing) == ((), ())


def test_what_is_not_found_from_here_is_said_once_and_makes_nothing_stale(
    from_below: Record, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    records = [from_below.model_copy(update={"key": f"{seed:08}", "seed": seed}) for seed in range(3)]
    results = kept(elsewhere / "deep" / "er" / "than" / "this" / "results", *records)
    compared = staleness(records, results)
    assert [entry.changes for entry in compared] == [(), (), ()]
    assert count_missing(compared) == [
        f"backbone {from_below.backbone} (3 records)",
        f"task {from_below.task} (3 records)",
    ]
    result = CliRunner().invoke(app, ["stale", str(results)])
    assert result.exit_code == 0
    assert result.stdout.count(from_below.backbone) == 1
    assert "stale" not in result.stdout
    old = [record.model_copy(update={"versions": {"torch": "1.0"}}) for record in records]
    assert all("torch 1.0 then" in entry.changes[0] for entry in staleness(old, results))


def test_what_would_have_to_be_downloaded_is_not(grid: MakeGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    record = made(grid(methods=["full"]).cells()[0], backbone="nobody/no-such-model", task="hub:nobody/no-such-data")
    (entry,) = staleness([record])
    assert entry.missing == ("backbone nobody/no-such-model", "task hub:nobody/no-such-data")
    assert entry.changes == ()


def test_a_step_of_a_stream_is_compared_with_its_earlier_tasks(
    backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = toy_tasks(tmp_path / "data", 2)
    stage = Stage("replay", ((first, None),), 0.25)
    record = made(replace(alone(backbones["bert"], [second])[0], stage=stage))
    assert cell_of(record).stage == stage
    assert [entry.changes for entry in staleness([record])] == [()]
    folder = Path(first.removeprefix("dir:"))
    lines = (folder / "train.jsonl").read_text().splitlines()
    (folder / "train.jsonl").write_text("\n".join(lines[1:]) + "\n")
    monkeypatch.chdir(folder)  # a process reads a task once from each working directory
    (entry,) = staleness([record])
    assert entry.changes == ("earlier task 1 changed",)
    shutil.rmtree(folder)
    monkeypatch.chdir(tmp_path)
    (entry,) = staleness([record])
    assert entry.missing


def test_what_records_have_in_common_is_computed_once(grid: MakeGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [made(cell) for cell in grid(methods=["full", "ia3"], seeds=5).cells()]
    computed: list[str] = []

    def noting(name: str) -> Callable[..., object]:
        compute = getattr(identity, name)
        return lambda *asked: computed.append(name) or compute(*asked)

    for name in ("source_fingerprint", "_method_origin", "_spelled_by_content"):
        monkeypatch.setattr(identity, name, noting(name))
    assert [entry.changes for entry in staleness(records)] == [()] * 10
    assert len(computed) == 2 * 3
