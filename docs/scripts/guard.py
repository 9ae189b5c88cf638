"""The example of docs/ci.md: `python -m docs.scripts.guard FOLDER` runs it and writes what `tunefront diff` prints.

FOLDER gets a tiny random model, two tasks of made-up rows, and the results of two runs of docs/examples/guard.toml: as
it is, and with the changes of the pull request. What is recorded there does not run again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.conftest import make_toy
from tunefront.bench.cli.console import wrap
from tunefront.bench.models.tiny import make_backbone

FOLDER = ROOT / "docs" / "examples"
CHANGES = "\n[recipe.ia3]\nlearning_rate = 3e-2\n\n[recipe.lora]\nlearning_rate = 2e-3\n"
"""What the pull request adds to the suite."""
TASKS = {"films": 1, "books": 2}
"""Name -> seed of the made-up rows."""


def tunefront(*arguments: str, folder: Path) -> str:
    """The standard output of a command, in a terminal of 80 columns."""
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tunefront", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return done.stdout


def outputs(folder: Path) -> dict[str, str]:
    """File in docs/examples -> what `tunefront diff` prints after both states of the suite ran in the folder."""
    write_inputs(folder)
    suite = FOLDER.joinpath("guard.toml").read_text(encoding="utf-8")
    for name, text in (("main", suite), ("pull-request", suite + CHANGES)):
        folder.joinpath(f"{name}.toml").write_text(text, encoding="utf-8")
        tunefront("run", f"{name}.toml", "--out", f"results/{name}", folder=folder)
    compared = ("diff", "results/main", "results/pull-request")
    printed = tunefront(*compared, folder=folder)
    shown = "".join(f"{line.rstrip()}\n" for line in wrap(printed.strip("\n"), 80).splitlines())
    return {"guard.txt": shown, "guard_comment.txt": tunefront(*compared, "--format", "md", folder=folder)}


def write_inputs(folder: Path) -> None:
    """The model and the tasks, unless they are there."""
    if not (folder / "models").exists():
        make_backbone(folder / "models" / "encoder", "bert")
        for name, seed in TASKS.items():
            make_toy(folder / "data" / name, seed, rows=(400, 32, 400))


def main() -> None:
    """Writes the outputs."""
    parser = argparse.ArgumentParser(prog="python -m docs.scripts.guard", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in outputs(folder).items():
        FOLDER.joinpath(name).write_text(text, encoding="utf-8")
        print(f"docs/examples/{name}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
