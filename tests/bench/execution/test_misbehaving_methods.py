"""Methods that misbehave: their cell fails with the reason, and the next one finds the process unchanged."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench.execution.grids import Grid, Nursery, deterministic, litter
from tunefront.bench.cells import Cell
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.grid import Outcome, run_grid
from tunefront.bench.records.store import Store

MakeGrid = Callable[..., Grid]
_numbers = itertools.count()

WRITTEN = '''
from __future__ import annotations
import gc, os, random, signal, sys, threading, time, warnings, logging
from dataclasses import dataclass
from typing import ClassVar
import torch
from tunefront.methods.base import Backbone, Method

class Panic(BaseException):
    """As pyo3's PanicException is."""

class Speechless(Exception):
    def __str__(self): raise RuntimeError("no text")
    __repr__ = __str__

class Fatal(Exception):
    def __str__(self): sys.exit(0)

@dataclass(frozen=True)
class Mine(Method):
    name: ClassVar[str] = "misbehaving_NUMBER"

    def attach(self, backbone):
        backbone.freeze(keep=backbone.head)
        ATTACH

    def fit(self, backbone, examples, harness):
        FIT
        harness.train(backbone.trainable(), backbone.loss, examples)
        SCORER
'''


def here(_: Cell) -> bool:
    """No cell runs in a separate process, as in a program that has imported its methods."""
    return False


def written(folder: Path, attach: str = "pass", fit: str = "pass", scorer: str = "return backbone.score") -> str:
    """The spelling of a method with these bodies."""
    path = folder / f"mine_{next(_numbers)}.py"
    text = WRITTEN.replace("NUMBER", str(next(_numbers)))
    path.write_text(text.replace("ATTACH", attach).replace("FIT", fit).replace("SCORER", scorer), encoding="utf-8")
    return f"{path}:Mine"


RAISED = {
    "sys.exit(0)": "SystemExit: 0",
    "sys.exit('bye')": "SystemExit: bye",
    "exit()": "SystemExit",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise GeneratorExit": "GeneratorExit",
    "raise StopIteration": "StopIteration",
    "raise Panic('a library panicked')": "Panic: a library panicked",
    "raise MemoryError": "MemoryError",
    "raise Speechless": "Speechless: (its text",
    "raise Fatal": "Fatal: (its text",
    "f = lambda: f(); f()": "RecursionError: maximum recursion depth",
    "raise ValueError('\\x1b[31mred \\ud800')": r"ValueError: \x1b[31mred \ud800",
    "raise ValueError('x' * 10_000_000)": "ValueError: xxx",
    "raise ValueError(chr(10) * 3 + 'below')": "ValueError: below",
}


BRIEF = [what for what in RAISED if len(what) <= 20]
PLACES = [*itertools.product(["attach"], RAISED), *itertools.product(["fit", "scorer"], BRIEF)]


@pytest.mark.parametrize(("where", "what"), PLACES)
def test_whatever_a_method_raises_is_a_failed_record_and_the_grid_goes_on(
    what: str, where: str, grid: MakeGrid, tmp_path: Path
) -> None:
    if where == "scorer":
        how = {"scorer": f"def score(batch):\n            {what}\n        return score"}
    else:
        how = {where: what}
    store = Store(tmp_path / "out")
    outcome = run_grid(grid(methods=[written(tmp_path, **how), "ia3"], steps=1).cells(), store, Local(alone=here))
    assert [record.status for record in outcome.records] == ["failed", "ok"]
    reason = outcome.records[0].reason or ""
    assert reason.startswith(RAISED[what])
    assert len(reason) < 600
    assert reason.isprintable()
    assert not outcome.interrupted
    assert len(store.records()) == 2
    assert litter(store) == []


def test_so_it_is_in_a_worker(grid: MakeGrid, nest: Nursery, tmp_path: Path) -> None:
    ways = ("sys.exit(0)", "raise Panic('rust')", "raise KeyboardInterrupt", "os.kill(os.getpid(), signal.SIGSEGV)")
    methods = [*(written(tmp_path, attach=way) for way in ways), "ia3"]
    assert nest.run(grid(methods=methods, steps=1), tmp_path / "out") == {
        "ran": 5,
        "reused": 0,
        "failed": 4,
        "skipped": 0,
        "interrupted": False,
    }
    reasons = {record.reason for record in Store(tmp_path / "out").records()}
    assert reasons == {
        *(None, "SystemExit: 0", "Panic: rust", "KeyboardInterrupt"),
        "the worker process died (signal SIGSEGV)",
    }


GIVEN = {
    "return None": "returned NoneType, not a scorer",
    "return lambda batch: [1.0]": "returned list, not a tensor",
    "return lambda batch: None": "returned NoneType, not a tensor",
    "return lambda batch: torch.zeros(len(batch.labels))": "a tensor of shape (",
    "return lambda batch: torch.zeros(1, 2)": "a tensor of shape (1, 2)",
    "return lambda batch: torch.zeros(len(batch.labels), 5)": "has 5 scores; ",
    "return lambda batch: torch.zeros(len(batch.labels), 2) * float('nan')": "of 40 rows are NaN",
    "return lambda batch: torch.zeros(len(batch.labels), 2, dtype=torch.complex64)": "complex",
}


@pytest.mark.parametrize("scorer", GIVEN)
def test_a_scorer_that_gives_no_scores_fails_in_words(scorer: str, grid: MakeGrid, tmp_path: Path) -> None:
    outcome = run_grid(
        grid(methods=[written(tmp_path, scorer=scorer)], steps=1).cells(), Store(tmp_path / "out"), Local(alone=here)
    )
    (record,) = outcome.records
    assert record.status == "failed"
    assert GIVEN[scorer] in (record.reason or "")


def test_integer_scores_are_scores(grid: MakeGrid, tmp_path: Path) -> None:
    scorer = "return lambda batch: torch.ones(len(batch.labels), 2, dtype=torch.int64)"
    outcome = run_grid(
        grid(methods=[written(tmp_path, scorer=scorer)], steps=1).cells(), Store(tmp_path / "out"), Local(alone=here)
    )
    assert outcome.records[0].status == "ok"


CHANGES = {
    "os.chdir('/')": "os.getcwd()",
    "os.environ['HF_HOME'] = 'x'": "os.environ.get('HF_HOME')",
    "torch.set_default_dtype(torch.float64)": "torch.get_default_dtype()",
    "torch.set_num_threads(2)": "torch.get_num_threads()",
    "torch.use_deterministic_algorithms(True)": "torch.are_deterministic_algorithms_enabled()",
    "torch.set_grad_enabled(False)": "torch.is_grad_enabled()",
    "torch.manual_seed(7)": "torch.get_rng_state().tolist()",
    "random.seed(7)": "random.getstate()",
    "signal.signal(signal.SIGUSR1, signal.SIG_IGN)": "signal.getsignal(signal.SIGUSR1)",
    "signal.signal(signal.SIGINT, signal.SIG_IGN)": "signal.getsignal(signal.SIGINT)",
    "signal.setitimer(signal.ITIMER_REAL, 600)": "signal.getitimer(signal.ITIMER_REAL)",
    "sys.stdout = None": "sys.stdout is None",
    "sys.setrecursionlimit(5000)": "sys.getrecursionlimit()",
    "sys.path.insert(0, '/x')": "sys.path",
    "gc.disable()": "gc.isenabled()",
    "warnings.simplefilter('ignore')": "warnings.filters",
    "logging.disable(logging.CRITICAL)": "logging.root.manager.disable",
    "os.umask(0o777)": "os.umask(0o022)",
}


PATCH = "torch.nn.Linear.forward = lambda self, x: 2 * x @ self.weight.T"
ENDS = {
    PATCH: None,
    "os._exit(0)": "exit 0",
    "os.kill(os.getpid(), signal.SIGKILL)": "SIGKILL",
    "os.kill(os.getpid(), signal.SIGSEGV)": "SIGSEGV",
    "os.closerange(3, 256)": "",
    "os.fork() or sys.exit(0)": None,
    "os.fork() or time.sleep(9)": None,
    "os.fork() or time.sleep(9); os._exit(0)": "exit 0",
}


OTHERS = ["features", "ia3", "full", "top_layers:n=1"]


@pytest.fixture(scope="module")
def kept() -> dict[str, dict[str, Any]]:
    """The expected results of the other cells."""
    return {}


@pytest.fixture
def undisturbed(
    kept: dict[str, dict[str, Any]], grid: MakeGrid, nest: Nursery, tmp_path: Path
) -> dict[str, dict[str, Any]]:
    """The results of these cells alone, without a user's method among them."""
    if not kept:
        nest.run(grid(methods=OTHERS, steps=1), tmp_path / "undisturbed", 1)
        kept.update(deterministic(Store(tmp_path / "undisturbed")))
    return kept


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("what", ENDS)
def test_what_a_users_method_does_to_its_process_reaches_no_other_cell(
    what: str,
    workers: int,
    grid: MakeGrid,
    nest: Nursery,
    undisturbed: dict[str, dict[str, Any]],
    tmp_path: Path,
) -> None:
    outcome = nest.run(grid(methods=[written(tmp_path, fit=what), *OTHERS], steps=1), tmp_path / "out", workers)
    assert outcome["ran"] == 5
    store = Store(tmp_path / "out")
    ours, expected = deterministic(store), undisturbed
    assert {key: ours[key] for key in expected} == expected
    (theirs,) = [record for record in store.records() if record.key not in expected]
    reason = ENDS[what]
    assert theirs.status == ("ok" if reason is None else theirs.status if reason == "" else "failed")
    assert (reason or "") in (theirs.reason or "")
    assert theirs.environment.concurrent_cells == workers


def test_a_script_that_names_a_file_of_a_method_needs_no_guard(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    """With one worker, the separate process does not import the script again."""
    spelled = written(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        "import tunefront\nprint('once')\n"
        f"records = tunefront.run(methods=[{spelled!r}], backbones=[{backbones['bert']!r}], tasks=[{toy_folder!r}],\n"
        f"    shots=[None], seeds=[0], settings={{'steps': 1}}, out={str(tmp_path / 'out')!r})\n"
        "print([record.status for record in records])\n",
        encoding="utf-8",
    )
    completed = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert completed.stdout.splitlines() == ["once", "['ok']"], completed.stderr


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_method_changes_of_its_process_is_put_back(
    change: str, grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gc
    import logging
    import random
    import warnings

    import torch

    known = {
        "os": os, "sys": sys, "signal": signal, "torch": torch, "random": random, "gc": gc, "warnings": warnings,
        "logging": logging,
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)

    def seen() -> str:
        return repr(eval(CHANGES[change], known))

    before = seen()
    outcome = run_grid(
        grid(methods=[written(tmp_path, attach=change), "ia3"], steps=1).cells(), Store("out"), Local(alone=here)
    )
    assert seen() == before
    assert outcome.records[1].status == "ok"
    assert len(list((tmp_path / "out" / "records").iterdir())) == 2, "relative to the folder of the call"


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("change", ["os.close(1)", "sys.stdout.close()", "os.close(1); os.close(2)"])
def test_a_standard_stream_that_a_method_closes_is_open_again(change: str, grid: MakeGrid, tmp_path: Path) -> None:
    cells = grid(methods=[written(tmp_path, attach=change)], steps=1).cells()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # whose streams may be closed
        os.dup2(writer, 1)
        sys.stdout = open(1, "w", closefd=True)  # noqa: SIM115
        run_grid(cells, Store(tmp_path / "out"), Local(alone=here))
        print("heard", flush=True)
        os._exit(0)
    os.close(writer)
    with open(reader) as heard:
        text = heard.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert text == "heard\n"


def interrupted(grid: MakeGrid, folder: Path, attach: str, signum: int = signal.SIGINT) -> Outcome:
    """Runs a cell that does something and `ia3`, a signal coming as soon as the first one has begun."""
    started = folder / "started"
    spelled = written(folder, attach=f"open({str(started)!r}, 'w').close(); {attach}")

    def press() -> None:
        end = time.monotonic() + 20
        while not started.exists() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(
            0.2
        )  # a signal just before a system call does not end the call, and Python does not see it until after
        os.kill(os.getpid(), signum)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        return run_grid(grid(methods=[spelled, "ia3"], steps=1).cells(), Store(folder / "out"), Local(alone=here))
    finally:
        thread.join()


WAIT = "time.sleep(60)"


@pytest.mark.parametrize(
    "swallowing",
    [
        f"exec('try:\\n {WAIT}\\nexcept BaseException:\\n pass')",
        f"exec('try:\\n {WAIT}\\nexcept KeyboardInterrupt:\\n raise ImportError from None')",
        f"exec('class Gone:\\n def __del__(self): {WAIT}\\nGone()')",
        f"exec('try:\\n {WAIT}\\nexcept BaseException:\\n sys.exit(0)')",
    ],
    ids=["suppressed", "another", "finalizer", "exit"],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_is_not_lost_in_what_swallows_it(swallowing: str, grid: MakeGrid, tmp_path: Path) -> None:
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGALRM)}
    began = time.monotonic()
    outcome = interrupted(grid, tmp_path, swallowing)
    assert outcome.interrupted
    assert outcome.records == ()
    assert time.monotonic() - began < 30, "it does not wait to the end"
    assert {signum: signal.getsignal(signum) for signum in before} == before
    assert not interruption.pending()


def test_a_worker_that_swallows_its_end_ends(grid: MakeGrid, nest: Nursery, tmp_path: Path) -> None:
    started = tmp_path / "started"
    attach = f"open({str(started)!r}, 'w').close()\n        try: time.sleep(60)\n        except BaseException: pass"
    parent = nest.start(grid(methods=[written(tmp_path, attach=attach), "ia3"], steps=1), tmp_path / "out")
    while not started.exists():
        time.sleep(0.02)
    began = time.monotonic()
    os.kill(parent, signal.SIGINT)
    assert nest.wait() == 0
    assert time.monotonic() - began < 15
    assert not [record for record in Store(tmp_path / "out").records() if record.status == "failed"]
