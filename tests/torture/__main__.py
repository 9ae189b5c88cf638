"""`python -m tests.torture`: kills, several writers, faults of the machine and odd inputs, thousands of times.

Prints a table of what was tried and what went wrong, with the seed; exit code 1 if a figure that must be 0 is not.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tunefront.bench.quiet import quiet_libraries

PARTS = ("kills", "writers", "faults", "fuzz")


def main() -> int:
    """Runs the parts; returns the exit code."""
    asked = parser().parse_args()
    asked.only = asked.only or list(PARTS)
    began = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="torture"))
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TUNEFRONT_CACHE": str(root / "cache")}
    quiet_libraries()  # which read it when they are imported
    from tests.torture import forked, parts, world
    from tests.torture.figures import Figures

    print(f"seed {asked.seed}, folder {root}", flush=True)
    figures = Figures()
    forked.import_everything()
    engine = () if asked.engine == "local" else ("--engine", asked.engine)
    seconds = None if asked.hours is None else asked.hours * 3600 / len(asked.only)
    try:
        made = world.make(root / "world", asked.suite or parts.suites(asked.only))
        for part in asked.only:
            start = time.monotonic()
            found = parts.run(part, made, root / part, asked.seed, asked.share, seconds, engine, asked.jobs)
            figures.merge([found])
            print(f"{part}: {found.total('tried'):,} tried in {time.monotonic() - start:.0f} s, {_load()}", flush=True)
    finally:
        if not figures.wrong:
            shutil.rmtree(root, ignore_errors=True)
    print(figures.table())
    print(f"seed {asked.seed}, engine {asked.engine}, {time.monotonic() - began:.0f} s, {_load()}")
    return int(figures.wrong > 0)


def parser() -> argparse.ArgumentParser:
    """The options of the script."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="one part; repeatable; default: all")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="of everything that is random")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of tries")
    parser.add_argument("--hours", type=float, help="go on for so long, over all parts, however many tries that makes")
    parser.add_argument("--engine", default="local", help="the engine of kills and writers, as for `tunefront run`")
    parser.add_argument("--suite", action="append", help="of tests.torture.world, for a quick try: few; repeatable")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that torture at a time")
    return parser


def _load() -> str:
    return f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} processors"


if __name__ == "__main__":
    sys.exit(main())
