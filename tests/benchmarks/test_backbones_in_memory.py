"""How much memory a grid over several backbones takes compared with one over a single one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.benchmarks.side_by_side import show

BACKBONES = 3
RUN = """
import json, sys, resource
import tunefront.bench.execution.run_cell, tunefront.bench.data.metric_classes
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
method, out, *backbones = sys.argv[1:]
imported = peak()
import tunefront
records = tunefront.run("quick", methods=[method], backbones=backbones, tasks=["docstrings/kind"], draws=[0],
    seeds=[0], shots=[16], settings={"eval_rows": 16, "max_length": 32, "steps": 3}, out=out)
assert [record.status for record in records] == ["ok"] * len(backbones)
print(json.dumps(peak() - imported))
"""
"""In a process of its own, whose peak nothing else has set."""


@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage")
@pytest.mark.parametrize("method", ["features", "full"])
def test_a_grid_over_three_backbones_keeps_one_at_a_time(benchmark: Any, method: str, tmp_path: Path) -> None:
    folders = [str(_bert(tmp_path / f"backbone{place}", place)) for place in range(BACKBONES)]
    weights = sum(file.stat().st_size for file in Path(folders[0]).glob("*.safetensors"))

    def peaks() -> dict[int, int]:
        return {many: _peak_bytes(method, folders[:many], tmp_path / f"out{many}") for many in (1, BACKBONES)}

    peak = benchmark.pedantic(peaks, rounds=1, iterations=1, warmup_rounds=0)
    rows = [
        {"backbones": many, "peak, MB over imports": value / 2**20, "of a backbone's weights": value / weights}
        for many, value in peak.items()
    ]
    show(benchmark, f"{method}, backbones of {weights / 2**20:.0f} MB", rows)
    assert peak[BACKBONES] < peak[1] + weights  # all three were read


def _bert(folder: Path, seed: int) -> Path:
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from tunefront.bench.models.locate import locate

    torch.manual_seed(seed)
    sizes = {"hidden_size": 384, "num_hidden_layers": 8, "num_attention_heads": 6, "intermediate_size": 1536}
    BertModel(BertConfig(vocab_size=30522, max_position_embeddings=512, **sizes)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(locate("minilm")).save_pretrained(folder)
    return folder


def _peak_bytes(method: str, backbones: list[str], out: Path) -> int:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", RUN, method, str(out), *backbones]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout.splitlines()[-1]))
