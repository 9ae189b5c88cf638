"""A kept checkpoint scores as the cell did, or is refused by name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from tests.bench.checkpoints.kept import ran, record_path, scored_rows
from tests.bench.execution.streams import alone, toy_tasks
from tests.toys import pair_id, shipped
from tunefront import export
from tunefront.bench.cells import Cell, kept
from tunefront.bench.checkpoints.loading import open_checkpoint
from tunefront.bench.errors import UserError
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.predictions import digest_of
from tunefront.bench.models.checkpoints import MANIFEST, header
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store
from tunefront.methods.base import Method
from tunefront.methods.sites import SITES, Sites
from tunefront.methods.spelling import parse


def scored_again(store: Store, record: Record, cell: Cell) -> str:
    """sha256 over the scores of the cell's test rows by its checkpoint."""
    _, fitted = open_checkpoint(record_path(store, record))
    return digest_of(fitted.scores(fitted.encode(scored_rows(cell))))


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
@pytest.mark.parametrize("method", shipped(), ids=pair_id)
def test_every_method_scores_from_its_checkpoint_to_the_bit(
    method: Method, family: str, folders: dict[str, str], tmp_path: Path
) -> None:
    (cell,) = alone(folders[family], toy_tasks(tmp_path / "data", 1), template=None if family == "bert" else "plain")
    cell = replace(cell, method=method)
    store, (record,) = ran([cell], tmp_path / "out")
    if record.status == "skipped":
        pytest.skip(record.reason or "")
    assert record.status == "ok", record.reason
    assert scored_again(store, record, cell) == record.scores.sha256


@pytest.mark.parametrize(
    "spelled", ["icl:k=6,calibrate=true", "icl:k=5,ensemble=3", "icl:k=4,balanced=true,order=2", "icl:k=0"]
)
def test_prompts_are_kept_as_their_rows(spelled: str, folders: dict[str, str], tmp_path: Path) -> None:
    tasks = toy_tasks(tmp_path / "data", 1)
    (cell,) = alone(folders["gpt2"], tasks, (spelled,), template="plain")
    store, (record,) = ran([cell], tmp_path / "out")
    stored, fitted = open_checkpoint(record_path(store, record))
    assert scored_again(store, record, cell) == record.scores.sha256
    assert len(stored.manifest.demonstrations) == fitted.method.k  # type: ignore[attr-defined]


def test_the_record_names_the_file_by_its_content_and_a_changed_one_is_refused(
    backbones: dict[str, str], tmp_path: Path
) -> None:
    store, (record,) = ran(alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3",)), tmp_path / "out")
    content = store.checkpoint(record)
    assert content is not None
    assert record.storage.checkpoint_sha256 == open_checkpoint(record_path(store, record))[0].sha256
    path = tmp_path / "out" / "checkpoints" / f"{record.storage.checkpoint_sha256}.safetensors"
    export(record_path(store, record), "safetensors", tmp_path / "as")
    for place in (path, tmp_path / "as" / "checkpoint.safetensors"):
        place.write_bytes(content[:-4] + b"\0\0\0\1")
    for place in (record_path(store, record), str(path), str(tmp_path / "as")):
        with pytest.raises(UserError, match="sha256"):
            open_checkpoint(place)


def test_a_checkpoint_is_the_same_to_the_bit_when_its_cell_runs_again(
    backbones: dict[str, str], tmp_path: Path
) -> None:
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("lora",))
    names = [ran(cells, tmp_path / out)[1][0].storage.checkpoint_sha256 for out in ("a", "b")]
    assert names[0] == names[1] is not None


def test_a_cell_without_its_checkpoint_runs_again_and_one_that_has_it_does_not(
    backbones: dict[str, str], tmp_path: Path
) -> None:
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3",))
    store = Store(tmp_path / "out")
    assert run_grid(cells, store).records[0].storage.checkpoint_sha256 is None
    assert [run_grid(kept(cells), store).ran for _ in range(2)] == [1, 0]
    (record,) = store.records()
    store.drop_checkpoints([record])  # as after a kill between two files, or a lost disk
    assert [run_grid(kept(cells), store).ran for _ in range(2)] == [1, 0]
    assert run_grid(cells, store).records[0].storage.checkpoint_sha256 is not None


def test_a_file_without_its_record_is_enough(backbones: dict[str, str], tmp_path: Path) -> None:
    (cell,) = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("houlsby:bottleneck=4",))
    store, (record,) = ran([cell], tmp_path / "out")
    content = store.checkpoint(record)
    assert content is not None
    lone = tmp_path / "lone.safetensors"
    lone.write_bytes(content)
    _, fitted = open_checkpoint(str(lone))
    assert digest_of(fitted.scores(fitted.encode(scored_rows(cell)))) == record.scores.sha256
    assert fitted.manifest.key == Identity.of(cell).key


def test_another_backbone_is_refused_by_name(backbones: dict[str, str], tmp_path: Path) -> None:
    store, (record,) = ran(alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3",)), tmp_path / "out")
    with pytest.raises(UserError, match="roberta") as error:
        open_checkpoint(record_path(store, record), backbone=backbones["roberta"])
    assert "architecture" in str(error.value)
    moved, altered = tmp_path / "moved", tmp_path / "altered"
    for folder in (moved, altered):
        shutil.copytree(backbones["bert"], folder)
    weights = load((altered / "model.safetensors").read_bytes())
    name = min(weights)
    (altered / "model.safetensors").write_bytes(save({**weights, name: weights[name] + 1}, {"format": "pt"}))
    assert open_checkpoint(record_path(store, record), backbone=str(moved))
    with pytest.raises(UserError, match="its files differ"):
        open_checkpoint(record_path(store, record), backbone=str(altered))


@pytest.mark.parametrize("method", ["features", "ia3"])
def test_other_sites_than_in_training_are_refused(
    method: str, backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tensors fit, but a head that reads the first token's state was trained on the pooler's."""
    store, (record,) = ran(alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), (method,)), tmp_path / "out")
    assert open_checkpoint(record_path(store, record))
    monkeypatch.setitem(SITES, "bert", Sites(**{**vars(SITES["bert"]), "pooling": "first"}))
    with pytest.raises(UserError, match="--sites") as error:
        open_checkpoint(record_path(store, record))
    assert "bert" in str(error.value)


def changed(content: bytes, **fields: object) -> bytes:
    """A checkpoint whose manifest has other fields."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    manifest = {**json.loads(metadata[MANIFEST]), **fields}
    return save(load(content), {**metadata, MANIFEST: json.dumps(manifest)})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"method": "nosuch:field=1"}, "nosuch"),
        ({"method": "houlsby:bottleneck=8"}, "does not fit"),
        ({"method": "mine:x=1", "method_file": "mine.py"}, "--method"),
        ({"surprise": 1}, "surprise"),
        ({"recipe": {"learning_rate": -1.0}}, "learning_rate"),
        ({"label": None}, "label"),
        ({"settings": {"nonsense": 1}}, "nonsense"),
        ({"settings": {"device": "tpu9"}}, "tpu9"),
        ({"n_kept": [1, 2], "method": "icl:k=4"}, "cannot be loaded"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(
    fields: dict[str, object], message: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    store, (record,) = ran(alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3",)), tmp_path / "out")
    content = store.checkpoint(record)
    assert content is not None
    (tmp_path / "changed.safetensors").write_bytes(changed(content, **fields))
    with pytest.raises(UserError, match=message):
        open_checkpoint(str(tmp_path / "changed.safetensors"))


@pytest.mark.parametrize("named", ["FILE:Evil", "FILE:Evil()", "full(FILE:Evil)", "peft:folder=FILE"])
def test_a_manifest_runs_no_file_that_it_names(named: str, backbones: dict[str, str], tmp_path: Path) -> None:
    store, (record,) = ran(alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3",)), tmp_path / "out")
    content, evil = store.checkpoint(record), tmp_path / "evil.py"
    assert content is not None
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    fields = {"method": named.replace("FILE", str(evil)), "method_file": str(evil)}
    (tmp_path / "hostile.safetensors").write_bytes(changed(content, **fields))
    with pytest.raises(UserError):
        open_checkpoint(str(tmp_path / "hostile.safetensors"))
    assert not (tmp_path / "ran").exists()


def test_without_the_device_that_it_was_trained_on_it_runs_on_the_cpu(
    backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (cell,) = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3",))
    store, (record,) = ran([cell], tmp_path / "out")
    content = store.checkpoint(record)
    assert content is not None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "gpu.safetensors").write_bytes(changed(content, settings={**record.settings, "device": "cuda:0"}))
    _, fitted = open_checkpoint(str(tmp_path / "gpu.safetensors"))
    assert digest_of(fitted.scores(fitted.encode(scored_rows(cell)))) == record.scores.sha256
    assert "cuda:0" in caplog.text


def test_what_is_no_checkpoint_says_what_to_give(backbones: dict[str, str], tmp_path: Path) -> None:
    cells = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3",))
    store, (record,) = ran(cells, tmp_path / "out")
    (tmp_path / "plain.safetensors").write_bytes(save({"a": torch.zeros(1)}))
    (tmp_path / "text.safetensors").write_text("no")
    (tmp_path / "empty").mkdir()
    for place, message in {
        "plain.safetensors": "manifest",
        "text.safetensors": "safetensors",
        "nothing.safetensors": "no file",
        "nothing.json": "no record",
        "empty": "checkpoint.safetensors",
        "out": f"records/{record.key}.json",
    }.items():
        with pytest.raises(UserError, match=message):
            open_checkpoint(str(tmp_path / place))
    store.write(record.model_copy(update={"storage": record.storage.model_copy(update={"checkpoint_sha256": None})}))
    with pytest.raises(UserError, match="--keep checkpoints"):
        open_checkpoint(record_path(store, record))


def test_results_at_a_url_have_checkpoints_too(backbones: dict[str, str], tmp_path: Path) -> None:
    (cell,) = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3",))
    store = Store(f"memory://checkpoints/{tmp_path.name}")
    (record,) = run_grid(kept([cell]), store).records
    _, fitted = open_checkpoint(f"{store.location}/records/{record.key}.json")
    assert digest_of(fitted.scores(fitted.encode(scored_rows(cell)))) == record.scores.sha256
    for place in (f"{store.location}/records/{'0' * 64}.json", store.location):
        with pytest.raises(UserError, match=r"no checkpoint|no record"):
            open_checkpoint(place)
    store.drop_checkpoints([record])
    with pytest.raises(UserError, match="missing"):
        open_checkpoint(f"{store.location}/records/{record.key}.json")


def test_a_start_file_is_not_needed_again(backbones: dict[str, str], tmp_path: Path) -> None:
    """What it held was trained further, and is in the checkpoint."""
    (cell,) = alone(backbones["bert"], toy_tasks(tmp_path / "data", 1), ("ia3",))
    store, (record,) = ran([cell], tmp_path / "out")
    start = tmp_path / "start.safetensors"
    content = store.checkpoint(record)
    assert content is not None
    start.write_bytes(content)
    cell = replace(cell, method=parse(f"ia3:start={start}"))
    store, (record,) = ran([cell], tmp_path / "again")
    start.unlink()
    assert scored_again(store, record, cell) == record.scores.sha256
    assert header(str(next((tmp_path / "again" / "checkpoints").iterdir()))).metadata
