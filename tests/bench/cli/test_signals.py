"""Ctrl-C and SIGTERM at any moment: the exit code is that of the signal, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.bench.execution.grids import alive, children, until
from tunefront.bench.execution import interruption

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such signals")

COMMAND = """
import os, sys, time
from tunefront.bench.execution import interruption
from tunefront.bench.cli.entry import main

sys.argv = ["tunefront", "run"]
import tunefront.bench.cli.running as command
BODY
print("ready", flush=True)
main()
"""
"""The command with `_run` replaced by BODY."""

BODIES = {
    "sleeps": "time.sleep(20)",
    "computes": "while True: sum(range(1000))",
    "in a finalizer": "class Slow:\n        def __del__(self): time.sleep(20)\n    Slow(); time.sleep(20)",
    "swallows": "try: time.sleep(20)\n    except BaseException: pass\n    time.sleep(20)",
    "turns into another": "try: time.sleep(20)\n    except KeyboardInterrupt: raise ImportError('numpy') from None",
    "exits": "try: time.sleep(20)\n    except KeyboardInterrupt: sys.exit(0)",
    "in a thread's join": "import threading as t\n    t = t.Thread(target=time.sleep, args=(20,)); t.start(); t.join()",
    "in a callback": "import functools; sorted(range(2), key=lambda _: time.sleep(10))",
    "in an exec": "exec('time.sleep(20)')",
    "held": "exec('with interruption.deferred():\\n time.sleep(1)'); time.sleep(20)",
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Starts Python code in a group of its own, ready to be signalled."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TUNEFRONT_CACHE": str(tmp_path / "cache")}
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def body(text: str) -> str:
    return COMMAND.replace("BODY", f"def run(*_):\n    print('ready', flush=True)\n    {text}\ncommand._run = run")


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_answered_whatever_runs(signum: int, what: str, start: object) -> None:
    process = start(body(BODIES[what]))  # type: ignore[operator]
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=18)  # the bodies would take 20 seconds
    assert process.returncode == 128 + signum
    assert "Stopped; every finished cell is recorded." in stderr


def test_the_second_one_ends_the_process_at_once(start: object) -> None:
    swallows = "while True:\\n try: print('inside', flush=True); time.sleep(60)\\n except BaseException: pass"
    process = start(body(f'exec("{swallows}")'))  # type: ignore[operator]
    lines = iter(process.stdout.readline, "")
    assert [next(lines) for _ in range(3)] == ["ready\n", "ready\n", "inside\n"]
    process.send_signal(signal.SIGINT)
    assert next(lines) == "inside\n"  # the first was swallowed, so it would run for another minute
    time.sleep(interruption.TOGETHER_SECONDS + 0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def test_two_that_come_together_are_one(start: object) -> None:
    """As `timeout` sends them, to the process and to its group."""
    process = start(body("time.sleep(20)"))  # type: ignore[operator]
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=15)
    assert process.returncode == 143
    assert "Stopped" in stderr


def test_a_thread_that_a_method_left_keeps_nothing(start: object) -> None:
    text = "import threading; threading.Thread(target=time.sleep, args=(60,)).start(); raise KeyboardInterrupt"
    process = start(body(text))  # type: ignore[operator]
    began = time.monotonic()
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 20


def test_a_forked_process_of_a_library_ends_with_the_group(start: object) -> None:
    text = (
        "import concurrent.futures as futures, multiprocessing\n"
        "    pool = futures.ProcessPoolExecutor(2, multiprocessing.get_context('fork'))\n"
        "    print(len(list(pool.map(abs, [1, 2]))), flush=True)\n"
        "    pool.submit(time.sleep, 60); pool.submit(time.sleep, 60)\n"
        "    time.sleep(60)"
    )
    process = start(body(text))  # type: ignore[operator]
    for line in ("ready\n", "ready\n", "2\n"):
        assert process.stdout.readline() == line
    own = children(process.pid)
    assert own
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=15)
    assert process.returncode == 130
    until(lambda: not any(alive(child) for child in own), 5)
    assert "Process ForkProcess" not in stderr


def test_a_callback_without_memory_prints_no_traceback(start: object) -> None:
    """As one of a font library's: the library then raises an error of its own, which is the one to report."""
    text = (
        "class Gone:\n        def __del__(self): raise MemoryError\n"
        "    class Odd:\n        def __del__(self): raise ValueError('another')\n"
        "    Gone(); Odd(); sys.exit(3)"
    )
    process = start(body(text))  # type: ignore[operator]
    _, stderr = process.communicate(timeout=30)
    assert "MemoryError" not in stderr
    assert "ValueError: another" in stderr


def is_gone(group: int) -> bool:
    """Whether no process of a group is left; one that ends by itself when its parent does may take a moment."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


GRID = """
import json, sys
from pathlib import Path
import tunefront.bench.cli.running as command
from tunefront.bench.cli.entry import main
from tests.bench.execution.grids import Grid
import tunefront.bench.suites.expand as suites
import tunefront.bench.execution.run_cell

grid = Grid(*json.loads(sys.argv.pop(1)))
suites.expand = lambda *_, **__: suites.Expansion(tuple(grid.cells()))
sys.argv = ["tunefront", "run", "--workers", sys.argv[1], "--out", sys.argv[2]]
print("ready", flush=True)
main()
"""
"""The command on a grid of tiny cells; heavy imports come before "ready"."""


@pytest.mark.parametrize("workers", [1, 2])
def test_at_any_moment_of_a_run_it_is_130_and_no_process_is_left(
    workers: int, backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    import json
    import random

    generator = random.Random(workers)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    grid = json.dumps([backbones["bert"], toy_folder, ["full", "ia3", "houlsby:bottleneck=4"], 4, 40])
    for number in range(2):
        command = [sys.executable, "-c", GRID, grid, str(workers), str(tmp_path / f"out{number}")]
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(generator.uniform(0, 2.0))
        own = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130, stderr
        assert "Traceback" not in stderr
        until(lambda own=own: not any(alive(child) for child in own), 5)
        until(lambda pid=process.pid: is_gone(pid), 5)
