"""The example of docs/cluster.md: `python -m docs.scripts.cluster` writes what `tunefront submit --dry-run` prints.

Seconds and memory are predicted on the machine that runs this; its folders are replaced.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import ROOT

SCRIPT = ROOT / "docs" / "examples" / "array.sh"
CALL = ("submit", "embedded", "--out", "results/mine", "--jobs", "8", "--slurm", "partition=compute", "--dry-run")
"""The command, but for its suite that of the page."""
SHOWN = "/home/ann/trial"
"""The folder that stands for that of the call."""


def example() -> str:
    """The array script of the page."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "tunefront", *CALL]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        replaced = {str(Path(folder).resolve()): SHOWN, str(Path(sys.executable).parent): f"{SHOWN}/venv/bin"}
    text = done.stdout
    for place, shown in replaced.items():
        text = text.replace(place, shown)
    return text.strip() + "\n"


def main() -> None:
    """Writes the script."""
    SCRIPT.write_text(example(), encoding="utf-8")
    print(f"docs/examples/{SCRIPT.name}: {len(SCRIPT.read_text(encoding='utf-8').splitlines())} lines")


if __name__ == "__main__":
    main()
