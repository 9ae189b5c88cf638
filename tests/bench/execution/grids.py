"""Small grids of fast cells, in this process or in a separate one that can be killed.

As a script it is a nursery: it imports everything once, then forks a process for every grid requested on its standard
input, so that a test can start and kill many parents without paying 5 s of imports for each.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from tests import ROOT
from tunefront.bench.cells import Cell
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.identity import Identity
from tunefront.bench.records import DETERMINISTIC, Record
from tunefront.bench.records.store import Store
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.methods.registry import source_file
from tunefront.methods.spelling import parse

METHODS = ("features", "full", "houlsby:bottleneck=4", "ia3", "top_layers:n=1")

ODD = '''
"""Methods that fail on purpose, until a file `repaired` exists in their folder."""
from __future__ import annotations
import errno, os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from tunefront.methods.base import Backbone, Method, Unsupported

@dataclass(frozen=True)
class Odd(Method):
    name: ClassVar[str] = "odd_NUMBER"
    how: str = "fail"

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=backbone.head)
        folder = Path(__file__).parent
        folder.joinpath(f"{self.how}.started").write_text(str(os.getpid()))
        if folder.joinpath("repaired").exists():
            return
        if self.how == "fail":
            raise RuntimeError("it went wrong")
        if self.how == "unsupported":
            raise Unsupported("odd needs an even backbone")
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exit":
            os._exit(3)
        if self.how == "sleep":
            while not folder.joinpath("repaired").exists():
                time.sleep(0.02)
        if self.how == "full":
            def full(*args: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")
            os.replace = full
        if self.how == "refused":
            replace = os.replace
            def refused(*args: object) -> None:
                os.replace = replace
                raise OSError(errno.EACCES, "Permission denied")
            os.replace = refused
'''


@dataclass(frozen=True)
class Grid:
    """A grid to run: methods with seeds on one backbone and task, a few steps each."""

    backbone: str
    task: str
    methods: Sequence[str] = METHODS
    seeds: int = 1
    steps: int = 3

    def cells(self) -> list[Cell]:
        """The grid's cells; a user's method file is loaded first."""
        cells = []
        for spelled in self.methods:
            method = parse(spelled)
            file = source_file(method)
            recipe = resolve_recipe(method, {"steps": self.steps, "batch_size": 8})
            cells += [
                Cell(
                    method=method,
                    backbone=self.backbone,
                    task=self.task,
                    recipe=recipe,
                    seed=seed,
                    config=RunConfig(eval_batch_size=16),
                    method_file=None if file is None else str(file),
                )
                for seed in range(self.seeds)
            ]
        return cells

    def names(self) -> list[str]:
        """The keys of the grid's records."""
        return [Identity.of(cell).key for cell in self.cells()]


_numbers = itertools.count()


def odd(folder: Path, *ways: str) -> list[str]:
    """Spellings of a user's methods that fail in the given ways, until `repair` is called."""
    path = folder / "odd.py"
    path.write_text(ODD.replace("NUMBER", str(next(_numbers))), encoding="utf-8")
    return [f"{path}:Odd:how={way}" for way in ways]


def repair(folder: Path) -> None:
    """From now on the odd methods succeed."""
    folder.joinpath("repaired").touch()


def deterministic(store: Store) -> dict[str, dict[str, Any]]:
    """Record fields and predictions that must be bitwise equal, however a grid was run."""
    by_key = {}
    for record in store.records():
        fields = {name: attrgetter(name)(record) for name in DETERMINISTIC}
        predictions = store.predictions(record.key) if record.status == "ok" else None
        fields["predictions"] = None if predictions is None else predictions.to_dict("list")
        by_key[record.key] = fields
    return by_key


def litter(store: Store) -> list[str]:
    """Files in a store that are neither records, predictions nor locks."""
    assert store.folder is not None
    endings = {"records": ".json", "predictions": ".parquet", "locks": ".lock"}
    return [
        str(path)
        for folder, ending in endings.items()
        for path in store.folder.joinpath(folder).iterdir()
        if path.name.startswith(".") or path.suffix != ending
    ]


def by_status(records: Sequence[Record], status: str) -> list[Record]:
    """The records of one status."""
    return [record for record in records if record.status == status]


def until(condition: Any, seconds: float = 20.0) -> Any:
    """Waits for a true answer and returns it; TimeoutError if none comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.01)
    raise TimeoutError(f"waited {seconds} s in vain")


def children(pid: int) -> list[int]:
    """Child processes of `pid`, without zombies."""
    return [int(p.name) for p in Path("/proc").glob("[0-9]*") if _parent(p) == pid and alive(int(p.name))]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    fields = _stat(Path(f"/proc/{pid}"))
    return bool(fields) and fields[0] != "Z"


def _parent(process: Path) -> int | None:
    fields = _stat(process)
    return int(fields[1]) if fields else None


def _stat(process: Path) -> list[str]:
    try:
        return process.joinpath("stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


class Nursery:
    """Starts grids in separate processes, one at a time."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def start(self, grid: Grid, out: Path, workers: int = 2, url: str | None = None) -> int:
        """Starts a grid in a process with a new process group; returns its pid. Its records go to `url`, if given."""
        names = [name for name in os.environ if name.startswith("AWS_")]
        environment = {name: os.environ[name] for name in ("TUNEFRONT_CACHE", *names)}
        message = {"grid": asdict(grid), "out": str(out), "store": url or str(out), "workers": workers}
        return int(self._send(message | {"environment": environment}))

    def wait(self) -> int:
        """Waits for the process to end; returns its exit code, or minus the signal that ended it."""
        return int(self._send({}))

    def run(self, grid: Grid, out: Path, workers: int = 2) -> dict[str, Any]:
        """Runs a grid to its end; returns the counts of its outcome, or its error."""
        out.with_suffix(".outcome").unlink(missing_ok=True)
        self.start(grid, out, workers)
        assert self.wait() == 0
        return outcome(out)

    def _send(self, message: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery has ended"
        return answer


def outcome(out: Path) -> dict[str, Any]:
    """The result of the last grid in a folder."""
    return json.loads(out.with_suffix(".outcome").read_text(encoding="utf-8"))


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery for as long as the block runs."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "default"}
    command = [sys.executable, "-m", "tests.bench.execution.grids"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    try:
        yield Nursery(process)
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait(timeout=20)
        process.stdout.close()  # type: ignore[union-attr]


def _main() -> None:
    for name in (
        "transformers.models.bert.modeling_bert",
        "tunefront.bench.execution.run_cell",
        "tunefront.bench.data.metric_classes",
    ):
        importlib.import_module(name)

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the output of a grid goes elsewhere
    for line in sys.stdin:
        message = json.loads(line)
        if message:
            pid = os.fork()
            if pid == 0:
                _grow_up(message)
            print(pid, file=answers, flush=True)
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=answers, flush=True)


def _grow_up(message: dict[str, Any]) -> None:
    """Runs a grid in a forked process, writes its result, and ends."""
    os.setpgid(0, 0)
    os.environ.update(message["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    out = Path(message["out"])
    try:
        outcome = run_grid(
            Grid(**message["grid"]).cells(), Store(message["store"]), Local(message["workers"], fork=True)
        )
        answer = {name: value for name, value in vars(outcome).items() if name != "records"}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    written = out.with_suffix(".writing")
    written.write_text(json.dumps(answer), encoding="utf-8")
    written.replace(out.with_suffix(".outcome"))
    os._exit(0)


if __name__ == "__main__":
    _main()
