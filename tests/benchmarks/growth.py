"""How seconds and memory of the commands that read results grow with the number of records, in a folder and at S3.

`python -m tests.benchmarks.growth FOLDER [SHAPE ...]` makes a store of each shape in FOLDER, unless it is there, copies
it to an S3 server that it starts, calls the commands in processes of their own, and prints a table and the exponents:
1 is linear, less grows slower.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests import ROOT
from tests.benchmarks.large_store import SHAPES, LargeStore, make
from tests.s3 import BUCKET, Server

BATCH = 500
"""Files that are read and copied at a time."""


@dataclass(frozen=True)
class Measured:
    """What a command took: wall seconds, processor seconds, and the peak of its resident memory in bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def commands(suite: Path, results: str, out: Path) -> dict[str, list[str]]:
    """What is measured; the report of `run` is kept by its second call, which is the measured one."""
    return {
        "plan": ["plan", str(suite), "--no-seconds"],
        "run, all done": ["run", str(suite), "--out", results],
        "report": ["report", results, "--out", str(out), "--format", "html,csv"],
    }


_LAUNCH = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen([sys.executable, "-m", "tunefront", *sys.argv[1:]], stdout=sys.stderr)
_, status, used = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps([time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))
sys.exit(process.returncode)
"""


def measure(arguments: Sequence[str], folder: Path, log: TextIO) -> Measured:
    """Calls the command. CalledProcessError if it fails.

    A small process starts it: a peak counts the memory of the process from which a command was forked too.
    """
    command = [sys.executable, "-c", _LAUNCH, *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True, check=True)
    return Measured(*json.loads(done.stdout))


def copied(made: LargeStore, url: str) -> None:
    """Copies a results folder to a URL."""
    from tunefront.bench.records.urls import UrlFolder

    files = [path for path in sorted(made.results.rglob("*")) if path.is_file() and path.parent.name in _COPIED]
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        UrlFolder(url).write({path.relative_to(made.results).as_posix(): path.read_bytes() for path in batch})


_COPIED = ("records", "predictions")


def exponent(cells: Sequence[int], amounts: Sequence[float]) -> float:
    """The slope of a line through the logarithms of amounts over those of cells, by least squares."""
    x, y = [math.log(value) for value in cells], [math.log(value) for value in amounts]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


_SERVE = """
import sys
from tests.s3 import serving
with serving() as server:
    print(server.endpoint, flush=True)
    sys.stdin.read()
"""


@contextmanager
def s3_process() -> Iterator[Server]:
    """An S3 server in a process of its own, so that its work is not that of the command."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline().strip())
    finally:
        process.stdin.close()
        process.wait()


def main(folder: str, *shapes: str) -> None:
    """Prints the tables."""
    top, names = Path(folder).absolute(), shapes or ("hundred", "thousand", "ten thousand")
    os.environ |= {"TUNEFRONT_CACHE": str(top / "cache"), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    found: dict[tuple[str, str], dict[int, Measured]] = {}
    with s3_process() as server:
        os.environ |= server.environment
        import fsspec

        fsspec.filesystem("s3").mkdir(BUCKET)
        for name in names:
            place = top / name.replace(" ", "-")
            made = LargeStore(place / "suite.toml", place / "results") if place.exists() else make(place, SHAPES[name])
            url = f"s3://{BUCKET}/{place.name}"
            copied(made, url)
            for where, results in (("folder", str(made.results)), ("S3", url)):
                with (place / f"{where}.log").open("w", encoding="utf-8") as log:
                    for what, arguments in commands(made.suite, results, place / f"report-{where}").items():
                        if what != "plan" or where == "folder":
                            if what.startswith("run"):
                                measure(arguments, place, log)
                            taken = measure(arguments, place, log)
                            found.setdefault((what, where), {})[SHAPES[name].cells] = taken
                            print(f"{what}, {where}, {SHAPES[name].cells:,}: {taken}", flush=True)
    print("\n".join(table(found)))


def table(found: Mapping[tuple[str, str], Mapping[int, Measured]]) -> Iterator[str]:
    """Lines of Markdown: processor seconds and peak memory of each command, with the exponents over all sizes and from
    the last but one to the last, where fixed costs count least. Wall seconds would be those of a busy machine too."""
    sizes = sorted({cells for known in found.values() for cells in known})
    amounts = " | ".join(f"{cells:,} records" for cells in sizes)
    yield f"| command, records in | {amounts} | exponent | of the last step |"
    yield "|---" * (len(sizes) + 3) + "|"
    for (what, where), known in found.items():
        for unit, values in (
            ("s", [known[cells].cpu_seconds for cells in sizes]),
            ("GB", [known[cells].peak_bytes / 1e9 for cells in sizes]),
        ):
            listed = " | ".join(f"{value:.2f} {unit}" for value in values)
            slopes = (exponent(sizes, values), exponent(sizes[-2:], values[-2:]))
            yield f"| {what}, {where} | {listed} | {slopes[0]:.2f} | {slopes[1]:.2f} |"


if __name__ == "__main__":
    main(*sys.argv[1:])
