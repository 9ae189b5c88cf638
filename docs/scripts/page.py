"""The figures of the page in docs/report.md: `python -m docs.scripts.page [60 5000 50000]` measures them here.

For each number of records it makes a synthetic results folder with predictions, writes the HTML report in a process of
its own, and opens it in headless Chromium. docs/examples/page.txt gets the seconds to build and to load, the size, and
the memory of both processes; below them the seconds that a browser takes to read each library, and to draw 60 and
5,000 points with plotly, each of them with an interval.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests import ROOT
from tests.reports.factory import METHODS, ledger, record
from tunefront.bench.records.store import Store
from tunefront.reports import units
from tunefront.reports.formats.scripts import scripts

TEXT = ROOT / "docs" / "examples" / "page.txt"
SIZES = {60: (1, 6, 5, 2), 5_000: (4, 25, 10, 5), 50_000: (10, 25, 20, 10)}
"""Records -> backbones, methods, tasks and draws."""
ROWS = 200
"""Test rows of a task."""
BUILD = (
    "import resource, sys, time; from tunefront import load_records, report; start = time.perf_counter(); "
    "report(load_records(sys.argv[1]), sys.argv[1] + '/report', formats=['html']); "
    "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
)
LOAD = (
    "() => { const shown = performance.getEntriesByType('navigation')[0]; "
    "return [shown.loadEventEnd / 1000, performance.memory.usedJSHeapSize, document.querySelectorAll('*').length]; }"
)
DRAW = (
    "() => { const start = performance.now(), choice = document.getElementById('at-across'); "
    "choice.selectedIndex = 1; choice.dispatchEvent(new Event('change')); return (performance.now() - start) / 1000; }"
)


def synthetic(folder: Path, backbones: int, methods: int, tasks: int, draws: int) -> int:
    """Writes records of all combinations with their predictions; returns their number."""
    labels = [*METHODS, *(f"lora:rank={size}" for size in range(1, methods))][:methods]
    generator = np.random.default_rng(0)
    store = Store(folder)
    store.prepare()
    written = 0
    for task in range(tasks):
        truth, hard = generator.integers(2, size=ROWS), generator.random(ROWS)
        for label, backbone, draw in ((m, b, d) for m in labels for b in range(backbones) for d in range(draws)):
            level = 0.7 + 0.2 * (labels.index(label) / methods) + 0.02 * generator.standard_normal()
            right = hard + 0.3 * generator.standard_normal(ROWS) < np.quantile(hard, min(level, 0.98))
            made = record(
                label=label,
                task=f"dir:data/task-{task}",
                backbone=f"backbone-{backbone}",
                draw_seed=draw,
                recipe={},
                settings={},
                data__n_test=ROWS,
                scores__test={"accuracy": float(right.mean())},
            )
            answers = {"id": [f"r{row}" for row in range(ROWS)], "label": truth}
            store.write(ledger(made), pd.DataFrame({**answers, "prediction": np.where(right, truth, 1 - truth)}))
            written += 1
    return written


def measure(folder: Path) -> dict[str, float]:
    """Seconds, bytes and memory of building the folder's page and of opening it."""
    built = subprocess.run([sys.executable, "-c", BUILD, str(folder)], capture_output=True, text=True, check=True)
    seconds, memory = map(float, built.stdout.split())
    page = folder / "report" / "report.html"
    return {
        "build_seconds": seconds,
        "build_memory_bytes": memory,
        "page_bytes": page.stat().st_size,
        **_opened(page),
    }


def _opened(page: Path) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        tab.goto(page.as_uri(), timeout=300_000)
        loaded: Any = tab.evaluate(LOAD)
        drawn: Any = tab.evaluate(DRAW)
        browser.close()
    return {"load_seconds": loaded[0], "heap_bytes": loaded[1], "elements": loaded[2], "redraw_seconds": drawn}


BARE = (
    "<!DOCTYPE html><script>var start = performance.now()</script><script>{text}</script>"
    "<script>var read = performance.now() - start</script><div id=plot style='width:800px;height:500px'></div>"
)
POINTS = (
    "async (amount) => { const x = [...Array(amount).keys()], start = performance.now(); "
    "await Plotly.newPlot('plot', [{x, y: x.map(Math.sin), mode: 'markers', "
    "error_y: {type: 'data', array: x.map(() => 0.1)}}]); return (performance.now() - start) / 1000; }"
)


def libraries() -> str:
    """The seconds of reading the libraries and of drawing points with plotly, medians of five, as a table."""
    from playwright.sync_api import sync_playwright

    plotly, tables, _ = scripts()
    rows = []
    with sync_playwright() as started, tempfile.TemporaryDirectory() as place:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, script in (("plotly", plotly), ("DataTables", tables)):
            path = Path(place, f"{name}.html")
            path.write_text(BARE.replace("{text}", script.text), encoding="utf-8")
            read: list[float] = []
            drawn: dict[int, list[float]] = {60: [], 5_000: []}
            for _ in range(5):
                tab = browser.new_page()
                tab.goto(path.as_uri())
                read.append(tab.evaluate("read / 1000"))
                for amount, seconds in drawn.items():
                    if name == "plotly":
                        seconds.append(tab.evaluate(POINTS, amount))
                tab.close()
            times = [units.instant(statistics.median(seconds)) if seconds else "" for seconds in drawn.values()]
            cells = [name, units.si(len(script.text), "B"), units.instant(statistics.median(read)), *times]
            rows.append(f"| {' | '.join(cells)} |")
        browser.close()
    return "\n".join(["| library | size | read in | 60 points | 5,000 points |", "|---|---|---|---|---|", *rows]) + "\n"


def table(found: dict[int, dict[str, float]]) -> str:
    """The figures as a table in Markdown."""
    columns = {
        "built in": lambda each: units.seconds(each["build_seconds"]),
        "memory": lambda each: units.si(each["build_memory_bytes"], "B"),
        "size": lambda each: units.si(each["page_bytes"], "B"),
        "loaded in": lambda each: units.seconds(each["load_seconds"]),
        "JavaScript heap": lambda each: units.si(each["heap_bytes"], "B"),
        "elements": lambda each: units.count(each["elements"]),
        "another axis": lambda each: units.instant(each["redraw_seconds"]),
    }
    lines = [f"| records | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    for amount, each in found.items():
        lines.append(f"| {amount:,} | {' | '.join(write(each) for write in columns.values())} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures the sizes given, all by default."""
    parser = argparse.ArgumentParser(prog="python -m docs.scripts.page", description=__doc__.partition("\n")[0])
    parser.add_argument("sizes", nargs="*", type=int, choices=[*SIZES, []], help="numbers of records; all by default")
    sizes = parser.parse_args().sizes or list(SIZES)
    found = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            assert synthetic(folder, *SIZES[size]) == size
            found[size] = measure(folder)
        print(json.dumps({"records": size, **found[size]}), flush=True)
    TEXT.write_text(f"{table(found)}\n{libraries()}", encoding="utf-8")


if __name__ == "__main__":
    main()
