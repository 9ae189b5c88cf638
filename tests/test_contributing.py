"""Every example of CONTRIBUTING.md, run in order in a copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.markdown import Block, blocks
from tunefront.bench.records import load_records

COPIED = ("tunefront", "bench", "methods", "reports", "tests/methods")
COPIED_FILES = (
    *("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/s3.py", "tests/toys.py"),
    "tests/test_contract.py",
)
NOT_COPIED = shutil.ignore_patterns("__pycache__", "test_*")
# Without an installed package, this checkout's command and pytest plugin replace the installed ones.
PRELUDE = """set -euo pipefail
tunefront() { python -m tunefront "$@"; }
pytest() { python -m pytest -p no:cacheprovider "$@"; }
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies the packages and the shared code of their tests, without data and results."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_COPIED)
    for name in COPIED_FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def perform(block: Block, folder: Path) -> None:
    """Writes or runs a block as a contributor would, in the copy."""
    if block.skip:
        return
    if block.file or block.appended:
        with folder.joinpath(str(block.file or block.appended)).open("a", encoding="utf-8") as file:
            file.write(f"\n{block.text}" if block.appended else block.text)
        return
    command = [sys.executable, "-c", block.text] if block.language == "python" else ["bash", "-c", PRELUDE + block.text]
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TUNEFRONT_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{block.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_every_example_runs(copy: Path) -> None:
    all_blocks = list(blocks(ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")))
    for block in all_blocks:
        perform(block, copy)
    assert {block.file for block in all_blocks} >= {"methods/top_norms.py", "tests/methods/test_top_norms.py"}
    labels = {
        name: {record.label for record in load_records(copy / "results" / name)} for name in ("norms", "megatron")
    }
    assert labels == {"norms": {"full", "top_norms"}, "megatron": {"houlsby:bottleneck=4", "ia3"}}
    assert copy.joinpath("results", "norms", "report", "report.html").is_file()
    records = [record for name in ("norms", "films", "megatron") for record in load_records(copy / "results" / name)]
    assert {record.status for record in records} == {"ok"}
