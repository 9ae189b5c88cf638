"""Files of trained parameters that methods start from: reading and refusing them, and their part in a record's key."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.toys import fresh_copy, loaded, shake, toy_task
from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.identity import Identity, label_of
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.execution.stale import staleness
from tunefront.bench.meters.storage import save_trained
from tunefront.bench.models.checkpoints import digest, files_of, header
from tunefront.bench.models.locate import fingerprint
from tunefront.bench.models.tiny import make_language_model
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store
from tunefront.bench.settings import RunConfig
from tunefront.bench.suites.sweeps import swept_methods
from tunefront.bench.suites.validate import check_files
from tunefront.methods.base import Backbone, Method, Recipe, Unsupported
from tunefront.methods.houlsby import Houlsby
from tunefront.methods.ia3 import IA3
from tunefront.methods.spelling import parse, spell


def trained_once(folder: str, path: Path, method: Method | None = None) -> dict[str, Tensor]:
    """Writes a method's trainable parameters and its head, moved away from their initial values."""
    backbone = fresh_copy(folder)
    (method or IA3()).attach(backbone)
    shake(backbone.trainable(), 0.3)
    save_trained(backbone.model, path)
    return {name: value.detach().clone() for name, value in backbone.trainable().items()}


def resaved(tensors: dict[str, Tensor], path: Path, **metadata: str) -> str:
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata or None)
    return str(path)


def test_training_starts_from_the_file_except_for_the_head(backbones: dict[str, str], tmp_path: Path) -> None:
    saved = trained_once(backbones["bert"], tmp_path / "start.safetensors")
    backbone = fresh_copy(backbones["bert"], seed=5)
    fresh = {name: value.detach().clone() for name, value in backbone.head.named_parameters(prefix="head")}
    IA3(start=str(tmp_path / "start.safetensors")).attach(backbone)
    now = backbone.trainable()
    assert len(now) == 6 + len(fresh)
    assert all(torch.equal(value, fresh.get(name, saved[name])) for name, value in now.items())
    assert all(value.requires_grad for value in now.values())
    assert not any(torch.equal(saved[name], fresh[name]) for name in fresh)


def test_another_number_type_is_converted(backbones: dict[str, str], tmp_path: Path) -> None:
    saved = trained_once(backbones["bert"], tmp_path / "start.safetensors")
    half = {name: value.bfloat16() for name, value in saved.items() if not name.startswith("head.")}
    backbone = fresh_copy(backbones["bert"])
    IA3(start=resaved(half, tmp_path / "half.safetensors")).attach(backbone)
    assert all(torch.equal(backbone.trainable()[name], value.float()) for name, value in half.items())
    assert {value.dtype for value in backbone.trainable().values()} == {torch.float32}


def less(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(list(tensors.items())[1:])


def more(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"encoder.layer.9.output.dense.ia3.scale": torch.ones(64)}


def wider(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.ones(len(value) + 1) for name, value in tensors.items()}


def infinite(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value / 0 for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("damage", "facts"),
    [
        (less, r"it lacks 1 of 6 tensors \(encoder\.layer\.0\.\S+\.ia3\.scale\)"),
        (more, r"the model has no place for 1 of 7 tensors \(encoder\.layer\.9\."),
        (wider, r"6 of 6 tensors have another shape \(encoder\.layer\.0\.\S+ first\)"),
        (infinite, r"6 of 6 tensors have values that are not finite"),
    ],
)
def test_other_tensors_than_the_methods_are_refused_with_their_names(
    damage: Any, facts: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    saved = trained_once(backbones["bert"], tmp_path / "whole.safetensors")
    vectors = {name: value for name, value in saved.items() if not name.startswith("head.")}
    path = resaved(damage(vectors), tmp_path / "start.safetensors")
    backbone = fresh_copy(backbones["bert"])
    with pytest.raises(UserError, match=facts):
        IA3(start=path).attach(backbone)


def test_the_file_of_another_method_is_refused(backbones: dict[str, str], tmp_path: Path) -> None:
    saved = trained_once(backbones["bert"], tmp_path / "adapters.safetensors", Houlsby(bottleneck=4))
    path = resaved(saved, tmp_path / "start.safetensors", method="houlsby:bottleneck=4", backbone="some/bert")
    with pytest.raises(UserError, match=r"it lacks 6 of 6 .* \(houlsby:bottleneck=4 on some/bert\)"):
        IA3(start=path).attach(fresh_copy(backbones["bert"]))


def test_the_file_of_another_backbone_is_refused_even_if_its_shapes_match(
    backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = backbones["bert"]
    saved = trained_once(folder, tmp_path / "whole.safetensors")
    names = {"method": "ia3", "backbone": "other/bert"}
    own = resaved(saved, tmp_path / "own.safetensors", backbone_fingerprint=fingerprint(folder), **names)
    alien = resaved(saved, tmp_path / "alien.safetensors", backbone_fingerprint="0" * 64, **names)
    IA3(start=own).attach(fresh_copy(folder))
    with pytest.raises(Unsupported, match=r"another backbone: .* ia3 on other/bert"):
        IA3(start=alien).attach(fresh_copy(folder))
    wrong = ErrorCollector()
    check_files([IA3(start=own), IA3(start=alien)], [folder], wrong)
    (message,) = wrong.messages
    assert message.startswith(f"ia3:start=alien.safetensors: {alien} ")
    assert "ia3 on other/bert" in message


def test_a_file_that_matches_one_of_two_backbones_is_no_error(backbones: dict[str, str], tmp_path: Path) -> None:
    saved = trained_once(backbones["bert"], tmp_path / "whole.safetensors")
    path = resaved(saved, tmp_path / "own.safetensors", backbone_fingerprint=fingerprint(backbones["bert"]))
    wrong = ErrorCollector()
    check_files([IA3(start=path)], [backbones["roberta"], backbones["bert"]], wrong)
    assert not wrong.messages


def broken(kind: str, folder: Path, whole: Path) -> Path:
    path = folder / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pickle":
        torch.save({"a": torch.ones(1)}, path)
    elif kind == "half":
        path.write_bytes(whole.read_bytes()[:-7])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "fifo":
        os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("absent", "there is no file"),
        ("folder", "is a folder; give the safetensors file"),
        ("pickle", "safetensors.torch.save_file()"),
        ("half", "safetensors.torch.save_file()"),
        ("empty", "safetensors.torch.save_file()"),
        ("fifo", "give a safetensors file"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_before_anything_runs(
    kind: str, facts: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    trained_once(backbones["bert"], tmp_path / "whole.safetensors")
    path = broken(kind, tmp_path, tmp_path / "whole.safetensors")
    wrong = ErrorCollector()
    check_files([IA3(start=str(path))], [backbones["bert"]], wrong)
    (message,) = wrong.messages
    assert facts in message
    assert str(path) in message
    assert "\n" not in message


def test_a_header_has_shapes_and_metadata(tmp_path: Path) -> None:
    path = resaved({"b": torch.ones(2, 3), "a": torch.ones(1)}, tmp_path / "x", method="m", backbone_fingerprint="f")
    read = header(path)
    assert (read.shapes, read.backbone, read.made_for) == ({"a": (1,), "b": (2, 3)}, "f", "m")
    bare = header(resaved({"a": torch.ones(1)}, tmp_path / "y"))
    assert (bare.backbone, bare.made_for) == (None, "the file does not name its method or backbone")


def cell(folder: str, task: str, method: Method, seed: int = 0) -> Cell:
    recipe = Recipe(steps=2, batch_size=8, learning_rate=1e-3)
    return Cell(method, folder, task, recipe, seed=seed, config=RunConfig(eval_batch_size=16))


def test_content_identifies_a_start_not_its_path(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = trained_once(backbones["bert"], tmp_path / "a.safetensors")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes())
    here = [cell(backbones["bert"], toy_folder, IA3(start=start)) for start in (None, "a.safetensors")]
    moved = cell(backbones["bert"], toy_folder, IA3(start="b/c.safetensors"))
    keys = [Identity.of(own).key for own in here]
    assert keys[0] != keys[1] == Identity.of(moved).key
    known = digest("a.safetensors")
    assert label_of(here[1].method) == f"ia3:start=a@{known[:8]}"
    assert label_of(here[0].method) == "ia3"
    resaved({name: value + 1 for name, value in saved.items()}, tmp_path / "a.safetensors")
    assert digest("a.safetensors") != known
    assert Identity.of(here[1]).key not in keys


def test_a_moved_start_keeps_its_record_under_the_new_path(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    trained_once(backbones["bert"], old)
    store = Store(tmp_path / "out")
    first = run_grid([cell(backbones["bert"], toy_folder, IA3(start=str(old)))], store)
    (record,) = first.records
    assert record.status == "ok"
    assert record.fingerprints["file:start"] == digest(str(old))
    assert (record.method, record.label) == (f"ia3:start={old}", f"ia3:start=old@{digest(str(old))[:8]}")
    plain = run_grid([cell(backbones["bert"], toy_folder, IA3())], store).records[0]
    assert plain.key != record.key
    assert plain.scores.test != record.scores.test or plain.training.final_loss != record.training.final_loss
    old.rename(new)
    again = run_grid([cell(backbones["bert"], toy_folder, IA3(start=str(new)))], store)
    assert (again.ran, again.reused) == (0, 1)
    assert again.records[0].method == f"ia3:start={new}"
    assert again.records[0].label.startswith("ia3:start=new@")


def test_a_changed_or_missing_start_makes_a_record_stale(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    path = tmp_path / "start.safetensors"
    saved = trained_once(backbones["bert"], path)
    record, _ = run_cell(cell(backbones["bert"], toy_folder, IA3(start=str(path))))

    def changes() -> tuple[str, ...]:
        return staleness([record])[0].changes

    assert changes() == ()
    resaved({name: value + 1 for name, value in saved.items()}, path)
    assert changes() == ("the file of start changed",)
    path.unlink()
    (stale,) = staleness([record])
    assert stale.changes == ()
    assert any("start.safetensors" in text for text in stale.missing)


def test_a_cell_whose_start_does_not_match_is_recorded_with_the_reason(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    saved = trained_once(backbones["bert"], tmp_path / "whole.safetensors")
    unfit = resaved(less(saved), tmp_path / "unfit.safetensors")
    alien = resaved(saved, tmp_path / "alien.safetensors", backbone_fingerprint="0" * 64)
    records: list[Record] = [
        run_cell(cell(backbones["bert"], toy_folder, IA3(start=start)))[0] for start in (unfit, alien)
    ]
    assert [record.status for record in records] == ["failed", "skipped"]
    assert "it lacks 1 of " in str(records[0].reason)
    assert "another backbone" in str(records[1].reason)


def test_language_models_start_from_a_file_too(language_models: dict[str, str], tmp_path: Path) -> None:
    task, folder = toy_task(), make_language_model(tmp_path / "t5", "t5", seed=3)
    for name in (str(folder), language_models["llama"]):
        backbone: Any = loaded(name).fresh_copy(task, 0)
        IA3().attach(backbone)
        shake(backbone.trainable(), 0.3)
        saved = {path: value.detach().clone() for path, value in backbone.trainable().items()}
        start = resaved(saved, tmp_path / "start.safetensors", backbone_fingerprint=fingerprint(name))
        again: Any = loaded(name).fresh_copy(task, 0)
        IA3(start=start).attach(again)
        assert all(torch.equal(value, saved[path]) for path, value in again.trainable().items())


def test_paths_in_a_suite_start_at_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    items = ["ia3:start=[x/a.safetensors, /b.safetensors]", {"name": "ia3", "start": ["x/a.safetensors"]}]
    files = [[files_of(method) for method in swept_methods(item, tmp_path / "inner")] for item in items]
    assert files == [
        [{"start": "inner/x/a.safetensors"}, {"start": "/b.safetensors"}],
        [{"start": "inner/x/a.safetensors"}],
    ]
    assert swept_methods("ia3", tmp_path / "inner") == [IA3()]


@pytest.mark.parametrize("start", ["a b,c=d.safetensors", "none", "12", 'é/".safetensors', None])
def test_any_path_comes_back_from_its_spelling(start: str | None) -> None:
    method = IA3(start=start)
    assert parse(spell(method)) == method


@pytest.mark.usefixtures("fresh_registry")
def test_a_users_method_declares_its_files(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class TwoFiles(Method):
        """A method with a required and an optional file."""

        name: ClassVar[str] = "two_files"
        files: ClassVar[tuple[str, ...]] = ("first", "second")
        first: str
        second: str | None = None

        def attach(self, backbone: Backbone) -> None:
            backbone.freeze(keep=backbone.head)

    path = resaved({"a": torch.ones(1)}, tmp_path / "one.safetensors")
    method = TwoFiles(path)
    assert files_of(method) == {"first": path}
    assert label_of(method) == f"two_files:first=one@{digest(path)[:8]}"
    assert files_of(replace(method, second=path)) == {"first": path, "second": path}
