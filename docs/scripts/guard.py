"""The example of docs/ci.md: `python -m docs.scripts.guard FOLDER` runs it and writes what `tunefront diff` prints.

FOLDER gets the results of two runs of docs/examples/guard.toml: as it is, and with the changes of the pull request.
What is recorded there does not run again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests import ROOT

FOLDER = ROOT / "docs" / "examples"
CHANGES = "\n[recipe.ia3]\nlearning_rate = 3e-3\n\n[recipe.lora]\nlearning_rate = 3e-2\n"
"""What the pull request adds to the suite."""


def tunefront(*arguments: str, folder: Path) -> str:
    """The standard output of a command, in a terminal of 80 columns."""
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tunefront", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.strip("\n").splitlines())


def main() -> None:
    """Runs both states of the suite, then writes the two outputs."""
    parser = argparse.ArgumentParser(prog="python -m docs.scripts.guard", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    suite = FOLDER.joinpath("guard.toml").read_text(encoding="utf-8")
    for name, text in (("main", suite), ("pull-request", suite + CHANGES)):
        folder.joinpath(f"{name}.toml").write_text(text, encoding="utf-8")
        tunefront("run", f"{name}.toml", "--out", f"results/{name}", folder=folder)
    for output, format in (("guard.txt", "text"), ("guard_comment.txt", "md")):
        printed = tunefront("diff", "results/main", "results/pull-request", "--format", format, folder=folder)
        FOLDER.joinpath(output).write_text(printed, encoding="utf-8")
        print(f"docs/examples/{output}: {len(printed.splitlines())} lines")


if __name__ == "__main__":
    main()
