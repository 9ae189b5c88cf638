"""Messages to a worker, and its end when the parent has ended."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.execution.grids import Grid, odd
from tunefront.bench.execution.engines.worker import CellMessage, send_step


def test_a_cell_survives_its_way_to_a_worker(grid: Callable[..., Grid], tmp_path: Path) -> None:
    for cell in grid(methods=["houlsby:bottleneck=4,std=0.25", *odd(tmp_path, '"a, b=c"')]).cells():
        assert pickle.loads(pickle.dumps(CellMessage.of(cell))).cell() == cell


def test_a_parent_that_goes_is_no_failure_of_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in sending a report would otherwise be recorded as the method's error."""
    monkeypatch.setattr(os, "_exit", sys.exit)
    ours, theirs = multiprocessing.Pipe()
    send_step(theirs, "train", 1, 2)
    assert ours.recv() == ("step", "train", 1, 2)
    ours.close()
    with pytest.raises(SystemExit) as ended:
        send_step(theirs, "train", 2, 2)
    assert ended.value.code == 1
    theirs.close()
