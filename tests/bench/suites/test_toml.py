"""Wrong suite files, by people and by fuzzers: always a paragraph and exit code 2."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.bench.world import World

pytestmark = pytest.mark.usefixtures("reports")

WRONG = {
    "deep lists": f"methods = {'[' * 5000}{']' * 5000}",
    "deep tables": f"a = {'{a=' * 3000}1{'}' * 3000}",
    "deep keys": f"a{'.a' * 3000} = 1",
    "digits": f"seeds = [{'9' * 5000}]",
    "hexadecimal": f"seeds = [0x{'f' * 5000}]",
    "a fraction of digits": f"seeds = [{'9' * 5000}.5]",
    "beyond 64 bits": "seeds = [99999999999999999999]",
    "not a number": "[recipe]\nlearning_rate = nan",
    "infinite": "[search]\nlearning_rate = [inf]",
    "1e999": "[recipe]\nlearning_rate = 1e999",
    "types": 'seeds = ["a", true, 1.5, -1]\nmethods = [1, {name = 3}, {}]\nshots = "x"\ntasks = [1]',
    "dates": "methods = 2024-01-01",
    "a table for a list": "[backbones]\nx = 1",
    "a NUL": 'backbones = ["a\\u0000b"]',
    "unknown": "sedes = [0]",
    "a number for a paper": "paper = 2022",
    "half": "seeds = [",
    "twice": "seeds = [0]\nseeds = [1]",
}


@pytest.mark.parametrize("case", WRONG)
def test_a_suite_that_is_wrong_is_one_paragraph(case: str, call: Any, world: World, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(WRONG[case] + "\n", encoding="utf-8")
    result = call("run", "mine.toml")
    assert result.exit_code == 2, result.output
    assert "mine.toml" in result.stderr
    assert "bug in tunefront" not in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 20_000
    assert not world.calls


def test_a_byte_order_mark_is_no_mistake(call: Any, world: World, tmp_path: Path) -> None:
    text = 'methods = ["ia3"]\nbackbones = ["tiny"]\ntasks = ["docstrings/kind"]\n'
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8-sig")
    assert call("run", "mine.toml").exit_code == 0


@pytest.mark.parametrize("kind", ["folder", "fifo", "bytes", "nowhere", "loop", "closed"])
def test_a_suite_that_is_no_file_is_reported(kind: str, call: Any, world: World, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "bytes":
        path.write_bytes(b"seeds = [0]\n\xff")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "closed":
        path.write_text("seeds = [0]", encoding="utf-8")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("read by whoever runs this")
    result = call("run", "mine.toml")
    assert result.exit_code == 2
    assert "mine.toml" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x.toml", "a\0b.toml", "x" * 5000 + ".toml", "\udcff.toml"])
def test_an_invalid_file_name_is_reported(name: str, call: Any, world: World) -> None:
    result = call("run", name)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
