"""Cells that were fitted with large steps, so that what is exported matters, and their exports."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.bench.checkpoints.kept import ran, record_path
from tests.bench.execution.streams import alone, toy_tasks
from tunefront import export
from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store
from tunefront.methods.spelling import parse


@dataclass(frozen=True)
class Ran:
    """A cell that ran, where its record is, and its backbone's folder."""

    cell: Cell
    store: Store
    record: Record
    backbone: str

    @property
    def path(self) -> str:
        """The record's file."""
        return record_path(self.store, self.record)

    def exported(self, form: str, out: Path) -> list[str]:
        """The notes of the export, which the record has said that there is."""
        assert form in (self.record.servable or ())
        return export(self.path, form, out)

    def refused(self, form: str, out: Path, *words: str) -> None:
        """Asserts that there is no such export, that the reason has these words, and that it names another form."""
        assert form not in (self.record.servable or ())
        with pytest.raises(UserError) as error:
            export(self.path, form, out)
        assert all(word in str(error.value) for word in (*words, "--to safetensors")), error.value
        assert not out.exists()


def fit(method: str, folder: str, tmp_path: Path, more_classes: int = 0) -> Ran:
    """A cell of a method on a toy task, fitted in a few large steps, with more classes than the two that rows have;
    skips the test where the method does not run."""
    template = None if "backbones" in folder else "plain"
    (task,) = toy_tasks(tmp_path / "data", 1)
    meta = Path(task.removeprefix("dir:"), "meta.json")
    names = ["good", "bad", *(f"class {number}" for number in range(more_classes))]
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "label_names": names}))
    (cell,) = alone(folder, [task], template=template)
    cell = replace(cell, method=parse(method), recipe=replace(cell.recipe, learning_rate=0.03))
    store, (record,) = ran([cell], tmp_path / "out")
    if record.status == "skipped":
        pytest.skip(record.reason or "")
    assert record.status == "ok", record.reason
    return Ran(cell, store, record, folder)


def averaging(backbone: str, tmp_path: Path) -> Path:
    """A copy of an encoder's folder whose pooling is the mean of the states, as MiniLM's."""
    folder = tmp_path / "backbones" / "mean"
    shutil.copytree(backbone, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules]
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder
