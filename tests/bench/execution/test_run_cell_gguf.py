"""Cells of a GGUF file are those of the model that it was written from, and their records say what they are of."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType as Kind

from tests.bench.models.gguf.files import write_model
from tunefront.bench.cells import Cell
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.execution.stale import staleness
from tunefront.bench.forecast.predict import predict
from tunefront.bench.models.locate import backbone_bytes, fingerprint, locate
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.bench.suites.grids import backbone_from
from tunefront.methods.spelling import parse

EXACT = ("key", "model", "parameters", "storage", "prompt", "flops.train", "flops.inference_per_example")


def cell(spelled: str, backbone: str, task: str) -> Cell:
    method, config = parse(spelled), RunConfig(eval_batch_size=4, eval_rows=10)
    recipe = resolve_recipe(method, {"batch_size": 4, "steps": 3, "dropout": 0.0})  # a file does not say the original's
    return Cell(method, backbone, task, recipe, 8, template="plain", config=config)


@pytest.mark.parametrize("spelled", ["icl:k=4", "ia3", "full"])
def test_a_gguf_file_of_float32_runs_as_its_original(
    spelled: str, llama_gguf: Path, language_models: dict[str, str], toy_folder: str
) -> None:
    records = [run_cell(cell(spelled, name, toy_folder)) for name in (str(llama_gguf), language_models["llama"])]
    (found, predicted), (original, expected) = records
    assert found.status == "ok", found.reason
    assert found.scores == original.scores
    assert predicted is not None
    assert expected is not None
    assert predicted.equals(expected)
    assert (found.model.stored_weights, original.model.stored_weights) == ("F32", None)
    assert found.storage.backbone_bytes == llama_gguf.stat().st_size
    assert found.parameters == original.parameters


@pytest.mark.parametrize("spelled", ["icl:k=4", "ia3"])
def test_a_plan_of_a_gguf_file_is_what_a_run_measures(spelled: str, llama_gguf: Path, toy_folder: str) -> None:
    one = cell(spelled, str(llama_gguf), toy_folder)
    planned, (measured, _) = predict(one), run_cell(one)
    for field in EXACT:
        assert attrgetter(field)(planned) == attrgetter(field)(measured), field


def test_other_weights_in_the_file_make_a_record_stale(
    language_models: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    folder = Path(language_models["llama"])
    path = write_model(tmp_path / "model.gguf", folder)
    record, _ = run_cell(cell("icl:k=0", str(path), toy_folder))
    assert staleness([record])[0].changes == ()
    write_model(path, folder, Kind.Q8_0)
    for known in (locate, fingerprint, backbone_bytes):
        known.cache_clear()
    assert staleness([record])[0].changes == ("the backbone's files changed",)


def test_a_moved_file_keeps_its_key(llama_gguf: Path, toy_folder: str, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.gguf"
    moved.write_bytes(llama_gguf.read_bytes())
    keys = {Identity.of(cell("icl:k=0", str(path), toy_folder)).key for path in (llama_gguf, moved)}
    assert len(keys) == 1


def test_a_suite_names_a_file_beside_it(llama_gguf: Path) -> None:
    assert Path(backbone_from(llama_gguf.name, llama_gguf.parent)) == llama_gguf
    assert backbone_from("gpt2", llama_gguf.parent) == "gpt2"
