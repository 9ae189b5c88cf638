"""Mixed batches give every row the scores of its own member alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.bench.models.routing.members import Fitted, assert_as_alone, fit, fit_once, mixed
from tests.toys import (
    Listed,
    fresh_copy,
    language_pairs,
    mixed_task,
    pair_id,
    pairs,
    shipped,
    takes_choices,
    toy_task,
)
from tunefront.bench.errors import UserError
from tunefront.bench.models.families import Decoder
from tunefront.bench.models.routing.hosts import FEWEST_JOINT, JointVectors, joint_vectors
from tunefront.bench.models.routing.member import Member, check_parts
from tunefront.bench.models.routing.router import Router
from tunefront.bench.models.routing.rows import MixedRows, Tag
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS
from tunefront.methods.base import Backbone, Method, Unsupported
from tunefront.methods.bitfit import BitFit
from tunefront.methods.cartridge import Cartridge
from tunefront.methods.houlsby import Houlsby
from tunefront.methods.ia3 import IA3, Rescale
from tunefront.methods.icl import ICL
from tunefront.methods.inject import plug
from tunefront.methods.lora import LoRA
from tunefront.methods.parallel_adapter import ParallelAdapter
from tunefront.methods.prefix_tuning import PrefixTuning
from tunefront.methods.prompt_tuning import PromptTuning
from tunefront.methods.scaling import Scaling

OF_THE_BACKBONE = ("full", "top_layers", "fish", "said", "peft")
"""The methods that change matrices which all rows share."""

every_method = pytest.mark.parametrize(("method", "family"), pairs() + language_pairs(), ids=pair_id)
every_family = pytest.mark.parametrize("family", [*FAMILIES, *LANGUAGE_MODELS])
one_of_each = pytest.mark.parametrize("family", ["bert", "deberta-v2", "gpt2", "llama", "t5", "bart"])


def shuffled(tags: Sequence[Tag], seed: int = 0) -> list[Tag]:
    return random.Random(seed).sample([*tags], len(tags))


def fit_or_skip(method: Method, folder: str, seed: int) -> Fitted:
    """A member, or a skipped test if the method cannot run on the backbone at all."""
    try:
        method.attach(fresh_copy(folder))
    except Unsupported as reason:
        pytest.skip(str(reason))
    return fit_once(method, folder, None, seed)


def routable(folder: str) -> list[Fitted]:
    """A member of every method that runs on a backbone and can be routed."""
    fitted = []
    for number, method in enumerate(shipped()):
        try:
            method.attach(fresh_copy(folder))
        except Unsupported:
            continue
        if method.name not in OF_THE_BACKBONE:
            fitted.append(fit_once(method, folder, None, number % 3))
    return fitted


def scored(router: Router, rows: MixedRows, tags: Sequence[Tag]) -> list[Tensor]:
    """The scores (rows, choices) of each member's rows, scored in one mixed batch in this order."""
    scores = dict(zip(tags, router.score_rows(rows, tags), strict=True))
    return [torch.stack([scores[m, row] for row in range(len(own))]) for m, own in enumerate(rows.examples)]


@every_method
def test_a_mixed_batch_scores_as_each_member_alone(method: Method, family: str, folders: dict[str, str]) -> None:
    """Two members of the method, on different tasks, among rows of another method, in any order."""
    folder = folders[family]
    if method.name in OF_THE_BACKBONE:
        with pytest.raises(Unsupported, match="backbone"):
            fit(method, folder)
        return
    fitted = [fit_or_skip(method, folder, seed) for seed in (0, 1)] + [fit_once(Houlsby(), folder, None, 2)]
    router, rows = mixed(fitted, folder)
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))


@every_family
def test_all_methods_together_score_as_each_alone(family: str, folders: dict[str, str]) -> None:
    fitted = routable(folders[family])
    assert len(fitted) > 10
    router, rows = mixed(fitted, folders[family])
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))


@every_family
def test_neither_batch_size_nor_batch_mates_change_a_row(family: str, folders: dict[str, str]) -> None:
    fitted = routable(folders[family])
    router, rows = mixed(fitted, folders[family])
    for size in (1, 7):
        assert_as_alone(fitted, router.score_all(rows, size))
    chosen = shuffled(rows.tags, 1)[:9]
    for (member, row), scores in zip(chosen, router.score_rows(rows, chosen), strict=True):
        torch.testing.assert_close(scores, fitted[member].alone[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "gpt2", "opt", "gpt_neox", "qwen2", "t5", "bart"])
def test_leads_of_unequal_length_lie_side_by_side(family: str, folders: dict[str, str]) -> None:
    leads: list[Method] = [PromptTuning(length=1), PrefixTuning(length=3, hidden=0), PromptTuning(length=12)]
    methods = [*leads, LoRA(), PrefixTuning()]
    fitted = [fit_once(method, folders[family], None, seed) for seed, method in enumerate(methods)]
    router, rows = mixed(fitted, folders[family])
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))


@pytest.mark.parametrize("family", LANGUAGE_MODELS)
def test_demonstrations_of_unequal_number_lie_side_by_side(family: str, folders: dict[str, str]) -> None:
    """Zero to five of them, several prompts of one member, calibrated scores; decoders also have trained ones."""
    methods: list[Method] = [ICL(k=0), ICL(k=2), ICL(k=5, order=3), ICL(k=3, ensemble=2, calibrate=True)]
    methods += [Cartridge(k=2), Cartridge(k=3)] if LANGUAGE_MODELS[family] == "decoder" else []
    fitted = [fit_once(method, folders[family], None, seed % 3) for seed, method in enumerate(methods)]
    router, rows = mixed(fitted, folders[family])
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5", "bart"])
def test_rows_that_keep_unequal_demonstrations_share_a_batch(family: str, folders: dict[str, str]) -> None:
    task = toy_task(rows=(16, 12), words=(1, 30))
    fitted = [fit(ICL(k=4), folders[family], task, context_length=100), fit_once(LoRA(), folders[family], None, 1)]
    (kept,) = fitted[0].rows.by_prefix.values()  # type: ignore[attr-defined]
    assert len({*kept.kept}) > 1
    router, rows = mixed(fitted, folders[family])
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5", "bart"])
def test_tasks_with_other_templates_and_numbers_of_choices_share_a_batch(family: str, folders: dict[str, str]) -> None:
    folder = folders[family]
    own = [method for method in (LoRA(), ICL(k=4), PromptTuning(length=3)) if takes_choices(method, folder)]
    fitted = [fit(method, folder, mixed_task(test=6, seed=n), n, template=Listed()) for n, method in enumerate(own)]
    fitted += [fit_once(Houlsby(), folder, None, 2), fit(LoRA(), folder, normalization="none")]
    router, rows = mixed(fitted, folder)
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))


@pytest.mark.parametrize("family", FAMILIES)
def test_regression_and_classification_share_a_batch(family: str, folders: dict[str, str]) -> None:
    values = toy_task("regression", rows=(16, 7), seed=4)
    fitted = [fit(method, folders[family], values) for method in (BitFit(), LoRA(norms=True))]
    fitted += [fit_once(BitFit(norms=True), folders[family], None, 1)]
    router, rows = mixed(fitted, folders[family])
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))


@one_of_each
def test_plugs_that_read_another_leaf_keep_to_their_rows(family: str, folders: dict[str, str]) -> None:
    fitted = [
        fit_once(ParallelAdapter(bottleneck=4, sublayers="both"), folders[family], None, 0),
        fit_once(ParallelAdapter(bottleneck=8, sublayers="attention"), folders[family], None, 1),
        fit_once(BitFit(missing="add", norms=True), folders[family], None, 2),
    ]
    router, rows = mixed(fitted, folders[family])
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))


@one_of_each
def test_one_member_alone_scores_as_itself(family: str, folders: dict[str, str]) -> None:
    fitted = [fit_once(Houlsby(), folders[family], None, 2)]
    assert_as_alone(fitted, mixed(fitted, folders[family])[0].score_all(MixedRows([fitted[0].rows]), 3))


@one_of_each
def test_a_router_leaves_its_members_as_they_were(family: str, folders: dict[str, str]) -> None:
    fitted = [fit_once(LoRA(), folders[family], None, 0), fit_once(Houlsby(), folders[family], None, 2)]
    before = [
        (each.member.backbone.model, {name: value.clone() for name, value in parts_by_name(each).items()})
        for each in fitted
    ]
    router, rows = mixed(fitted, folders[family])
    router.score_all(rows, 4)
    for each, (model, parts) in zip(fitted, before, strict=True):
        assert each.member.backbone.model is model
        assert each.member.backbone.elsewhere is None
        assert all(torch.equal(value, parts[name]) for name, value in parts_by_name(each).items())


def parts_by_name(fitted: Fitted) -> dict[str, Tensor]:
    modules = {path: nn.ModuleList(module for _, module in own) for path, own in fitted.member.parts.steps.items()}
    return {f"{path}.{name}": value for path, own in modules.items() for name, value in own.state_dict().items()}


@one_of_each
def test_a_deep_copy_is_independent(family: str, folders: dict[str, str]) -> None:
    # Not those of other tests: the router holds its members' modules, which are zeroed below.
    fitted = [fit(LoRA(), folders[family]), fit(BitFit(missing="add"), folders[family], None, 1)]
    router, rows = mixed(fitted, folders[family])
    copied = copy.deepcopy(router)
    with torch.no_grad():
        for parameter in router.backbone.model.parameters():
            parameter.zero_()
    assert_as_alone(fitted, copied.score_all(rows, 4))


@one_of_each
def test_scores_need_no_gradient(family: str, folders: dict[str, str]) -> None:
    fitted = [fit_once(LoRA(), folders[family], None, 0), fit_once(Houlsby(), folders[family], None, 2)]
    router, rows = mixed(fitted, folders[family])
    assert not any(parameter.requires_grad for parameter in router.backbone.model.parameters())
    assert not any(scores.requires_grad for scores in router.score_all(rows, 4))


@dataclass(frozen=True)
class Hooked(Method):
    """Doubles the outputs of blocks by a hook that is not `plug`'s."""

    name: ClassVar[str] = "hooked"

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze()
        backbone.model.register_forward_hook(lambda module, args, output: output)


def test_a_method_with_hooks_of_its_own_is_refused(folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders["bert"])
    Hooked().attach(backbone)
    with pytest.raises(Unsupported, match="hooks of its own"):
        check_parts(backbone)


def test_a_decoder_that_scores_choices_in_separate_rows_is_refused(
    language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = fresh_copy(language_models["gpt2"])
    LoRA().attach(backbone)
    check_parts(backbone)
    monkeypatch.setattr(Decoder, "side_by_side", False)
    with pytest.raises(Unsupported, match="apart from each other"):
        check_parts(backbone)


def test_a_scorer_that_needs_no_pass_is_called_once(folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders["bert"])
    backbone.freeze()
    calls = []
    member = Member.of("constant", backbone, lambda batch: calls.append(batch) or torch.ones(len(batch.rows), 2))
    other = fit_once(IA3(), folders["bert"], None, 0)
    router = Router(fresh_copy(folders["bert"]), [member, other.member])
    constant, own = router.score_all(MixedRows([other.rows, other.rows]), 100)
    assert len(calls) == 1
    assert torch.equal(constant, torch.ones(len(other.rows), 2))
    assert_as_alone([other], [own])


def test_an_error_of_a_scorer_passes_through_and_leaves_the_member_usable(folders: dict[str, str]) -> None:
    def failing(batch: object) -> Tensor:
        raise ArithmeticError("no score")

    backbone = fresh_copy(folders["bert"])
    backbone.freeze()
    member, other = Member.of("failing", backbone, failing), fit_once(IA3(), folders["bert"], None, 0)
    model = backbone.model
    router = Router(fresh_copy(folders["bert"]), [other.member, member])
    rows = MixedRows([other.rows, other.rows])
    with pytest.raises(ArithmeticError, match="no score"):
        router.score_all(rows, 4)
    assert backbone.model is model
    only = [tag for tag in rows.tags if tag[0] == 0]
    assert_as_alone([other], [torch.stack(router.score_rows(rows, only))])


def test_members_of_another_backbone_are_refused(folders: dict[str, str]) -> None:
    fitted = fit_once(IA3(), folders["bert"], None, 0)
    with pytest.raises(UserError, match="another backbone"):
        Router(fresh_copy(folders["roberta"]), [fitted.member])


def test_members_with_another_pooling_are_refused(folders: dict[str, str]) -> None:
    fitted, backbone = fit_once(IA3(), folders["bert"], None, 0), fresh_copy(folders["bert"])
    backbone.pooling = "mean"  # type: ignore[union-attr]
    with pytest.raises(UserError, match="pool"):
        Router(backbone, [fitted.member])


def test_a_router_without_members_is_refused(folders: dict[str, str]) -> None:
    with pytest.raises(UserError, match="member"):
        Router(fresh_copy(folders["bert"]), [])


def test_two_batches_of_one_member_are_refused(folders: dict[str, str]) -> None:
    fitted = fit_once(IA3(), folders["bert"], None, 0)
    router, rows = mixed([fitted], folders["bert"])
    (batch,) = rows.batches([(0, 0)])
    with pytest.raises(ValueError, match="two batches"):
        router.scores([batch, batch])


@dataclass(frozen=True)
class OnEmbeddings(Method):
    """Plugs into the embeddings of tokens, whose input has no width."""

    name: ClassVar[str] = "on_embeddings"

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=backbone.head)
        site = next(
            path
            for path, module in backbone.model.named_modules()
            if module is backbone.model.get_input_embeddings()  # type: ignore[operator]
        )
        plug(backbone.model, site.replace(".", r"\."), "scaled", lambda host, width: nn.Linear(width, width), "after")


@one_of_each
def test_plugs_of_embeddings_keep_to_their_rows(family: str, folders: dict[str, str]) -> None:
    """The input of an embedding has no width."""
    fitted = [fit(OnEmbeddings(), folders[family]), fit_once(Houlsby(), folders[family], None, 2)]
    router, rows = mixed(fitted, folders[family])
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "opt", "llama", "t5", "bart"])
def test_vectors_of_many_members_act_as_one_after_another(family: str, folders: dict[str, str]) -> None:
    """More members of a kind than are taken one by one, next to another kind and to members without it."""
    kinds = [IA3(), Scaling(), BitFit(missing="add")]
    fitted = [fit_once(kind, folders[family], None, seed) for kind in kinds for seed in range(FEWEST_JOINT + 1)]
    fitted += [fit_once(Houlsby(), folders[family], None, 2)]
    router, rows = mixed(fitted, folders[family])
    sides = [module for module in router.backbone.model.modules() if isinstance(module, JointVectors)]
    assert sides
    assert_as_alone(fitted, scored(router, rows, shuffled(rows.tags)))
    few = [tag for tag in rows.tags if tag[0] in (0, 1, len(fitted) - 1)]
    for (member, row), scores in zip(few, router.score_rows(rows, few), strict=True):
        torch.testing.assert_close(scores, fitted[member].alone[row], rtol=1e-5, atol=1e-5)


class Centred(nn.Module):
    """A vector that does not act on every unit alike."""

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale / self.scale.mean()


def test_a_module_that_is_not_elementwise_is_not_joined() -> None:
    modules = [Centred(4) for _ in range(3)]
    with torch.no_grad():
        for place, module in enumerate(modules):
            module.scale.add_(torch.arange(4.0) * (place + 1))
    assert joint_vectors({place: [("after", module)] for place, module in enumerate(modules)}) == []
    rescaled = [Rescale(4) for _ in range(3)]
    (group,) = joint_vectors({place: [("after", module)] for place, module in enumerate(rescaled)})
    assert group.members == (0, 1, 2)


def test_a_leaf_that_gets_no_rows_is_an_error(folders: dict[str, str]) -> None:
    router, _ = mixed(
        [fit_once(IA3(), folders["bert"], None, 0), fit_once(IA3(), folders["bert"], None, 1)], folders["bert"]
    )
    value = router.backbone.model.get_submodule("encoder.layer.0.attention.self.value")
    with router.routing.units([0, 1, 1]), pytest.raises(RuntimeError, match="rows or tokens"):
        value(torch.zeros(2, 4, 32))
