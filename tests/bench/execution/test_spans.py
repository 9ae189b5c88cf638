"""What is left out of a span of blocks: only what the method plugged in, and everything of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.toys import encode, fresh_copy, shake, toy_task
from tunefront.bench.cells import Cell
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.models.config import block_count
from tunefront.bench.records import DETERMINISTIC, Record
from tunefront.bench.records.frame import flatten
from tunefront.bench.settings import RunConfig, every_span, resolve_recipe
from tunefront.methods.inject import matching, plugged, without_plugs
from tunefront.methods.spelling import parse

METHODS = ("houlsby:bottleneck=4", "lora:rank=2,norms=true", "ia3", "parallel_adapter:bottleneck=4,sublayers=both")
MODELS = ("bert", "distilbert", "deberta-v2", "gpt2", "llama", "t5-gated", "bart")
TASK = toy_task()


def trained(method: str, folder: str) -> Any:
    """A backbone with everything that the method trains away from its initial value: plugs, norms, head."""
    backbone = fresh_copy(folder, TASK)
    parse(method).attach(backbone)
    shake(backbone.trainable())
    backbone.model.eval()
    return backbone


def scores(backbone: Any) -> Tensor:
    with torch.no_grad():
        return backbone.score(encode(backbone, TASK, "test").batch(range(8), torch.device("cpu")))


def blocks_of(backbone: Any) -> list[nn.Module]:
    return list(matching(backbone.model, backbone.sites.block).values())


def plugs_in(block: nn.Module) -> list[nn.Module]:
    return [module for host in block.modules() for where, module in plugged(host) if where != "tap"]


def pairs() -> list[Any]:
    """A method with an architecture that it supports."""
    unsupported = {("ia3", "gpt2"), ("parallel_adapter:bottleneck=4,sublayers=both", "gpt2")}
    return [(method, name) for method in METHODS for name in MODELS if (method, name) not in unsupported]


@pytest.mark.parametrize(("method", "name"), pairs())
def test_without_all_plugs_the_model_is_the_plain_one_with_its_trained_norms_and_head(
    method: str, name: str, folders: dict[str, str]
) -> None:
    backbone = trained(method, folders[name])
    with without_plugs(blocks_of(backbone)) as plugs:
        left = scores(backbone)
        state = {path: tensor.clone() for path, tensor in backbone.model.state_dict().items()}
    whole = scores(backbone)
    assert plugs == sum(len(plugs_in(block)) for block in blocks_of(backbone)) > 0
    plain = fresh_copy(folders[name], TASK)
    missing = plain.model.load_state_dict(state, strict=False).missing_keys
    assert not missing
    plain.model.eval()
    assert torch.equal(scores(plain), left)
    assert not torch.allclose(whole, left)


@pytest.mark.parametrize(("method", "name"), pairs())
def test_without_one_block_the_model_is_the_one_whose_hooks_were_taken_off_there(
    method: str, name: str, folders: dict[str, str]
) -> None:
    backbone = trained(method, folders[name])
    for place, block in enumerate(blocks_of(backbone)):
        with without_plugs([block]):
            left = scores(backbone)
        by_hand: Any = copy.copy(backbone)
        by_hand.model = copy.deepcopy(backbone.model)
        for host in blocks_of(by_hand)[place].modules():
            host._forward_hooks.clear()
            host._forward_pre_hooks.clear()
        assert torch.equal(scores(by_hand), left)


def test_afterwards_everything_is_in_its_place_again_also_after_an_error(folders: dict[str, str]) -> None:
    backbone = trained("houlsby:bottleneck=4", folders["bert"])
    before, whole = dict(backbone.model.named_modules()), scores(backbone)
    with pytest.raises(KeyError), without_plugs(blocks_of(backbone)):
        raise KeyError
    after = dict(backbone.model.named_modules())
    assert list(before) == list(after)
    assert all(before[path] is after[path] for path in before)
    assert torch.equal(scores(backbone), whole)


@pytest.mark.parametrize("name", MODELS)
def test_the_number_of_blocks_is_known_before_weights_are_read(name: str, folders: dict[str, str]) -> None:
    assert block_count(folders[name]) == len(blocks_of(fresh_copy(folders[name], TASK)))


def ran(method: str, backbone: str, task: str, **settings: Any) -> Record:
    recipe = resolve_recipe(parse(method), {"steps": 3, "learning_rate": 0.01})
    template = "plain" if backbone.endswith(("gpt2", "llama", "bart")) else None
    cell = Cell(parse(method), backbone, task, recipe, shots=16, template=template, config=RunConfig(**settings))
    return run_cell(cell)[0]


@pytest.mark.parametrize(("method", "name"), [("houlsby:bottleneck=4", "bert"), ("lora:rank=2", "llama")])
def test_a_record_has_the_scores_of_every_span_and_else_the_numbers_of_a_run_without(
    method: str, name: str, folders: dict[str, str], toy_folder: str
) -> None:
    without, record = (
        ran(method, folders[name], toy_folder),
        ran(method, folders[name], toy_folder, removed_spans="all"),
    )
    assert without.status == record.status == "ok", record.reason
    assert without.spans is None
    assert [(span.first, span.last) for span in record.spans or ()] == list(every_span(2))
    assert [span.plugs for span in record.spans or ()] == [2, 2, 4]
    assert all(span.scores.keys() == {"accuracy", "macro_f1"} for span in record.spans or ())
    same = DETERMINISTIC - {"key", "settings", "spans"}
    one, other = (flatten(known) for known in (without, record))
    assert {field for field in same if one.get(field) != other.get(field)} == set()
    assert without.key != record.key


def test_the_spans_of_a_call_are_removed_in_its_order(folders: dict[str, str], toy_folder: str) -> None:
    record = ran("houlsby:bottleneck=4", folders["bart"], toy_folder, removed_spans="2-3, 0")
    assert record.status == "ok", record.reason
    assert [(span.first, span.last, span.plugs) for span in record.spans or ()] == [(2, 3, 6), (0, 0, 2)]


@pytest.mark.parametrize(
    ("method", "spans", "fact"),
    [
        ("full", "all", "full inserts no modules"),
        ("prompt_tuning:length=2", "all", "prompt_tuning inserts no modules"),
        ("houlsby:bottleneck=4", "0,1-2", "blocks 0 to 1"),
    ],
)
def test_what_cannot_be_removed_is_said_before_anything_is_trained(
    method: str, spans: str, fact: str, folders: dict[str, str], toy_folder: str
) -> None:
    record = ran(method, folders["bert"], toy_folder, removed_spans=spans)
    assert record.status == "skipped"
    assert fact in (record.reason or "")


def test_spans_are_part_of_the_key_and_wrong_ones_are_errors(folders: dict[str, str], toy_folder: str) -> None:
    def key(spans: str | None) -> str:
        method = parse("houlsby")
        config = RunConfig(removed_spans=spans)
        return Identity.of(Cell(method, folders["bert"], toy_folder, resolve_recipe(method), config=config)).key

    assert len({key(None), key("all"), key("0-1")}) == 3
    for wrong in ("", "1-0", "0,0", "x", "0-", "-1", "0;1", "0-1-2", "99999"):
        with pytest.raises(ValueError, match="span"):
            RunConfig(removed_spans=wrong)
