"""Merged weights: a plain model that scores as the method does, and the method's model again afterwards."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.toys import attach, encode, fresh_copy, shake
from tunefront.methods.inject import merged_plugs, plug, plugged
from tunefront.methods.spelling import parse
from tunefront.methods.torch_internals import hooks_of

MERGED = ("lora:rank=2", "lora:rank=2,sites=every", "ia3", "scaling", "said:dimension=64")
NOT_MERGED = ("houlsby:bottleneck=4", "pfeiffer:reduction=4", "compacter:reduction=4", "parallel_adapter:bottleneck=4")
NOTHING_TO_MERGE = ("full", "bitfit", "layernorm", "top_layers:n=1")
FAMILIES = ("bert", "deberta-v2", "gpt2", "gpt_neox", "llama", "t5-gated", "bart")


def scores(backbone: object) -> Tensor:
    with torch.no_grad():
        return backbone.score(encode(backbone).batch(range(6)))  # type: ignore[attr-defined, arg-type]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spelled", MERGED)
def test_a_merged_model_scores_the_same_without_inserted_modules(
    spelled: str, family: str, folders: dict[str, str]
) -> None:
    backbone = fresh_copy(folders[family])
    attach(parse(spelled), backbone)
    plain = scores(backbone)
    shake(backbone.trainable(), 0.3)
    backbone.model.eval()
    before, names = scores(backbone), [name for name, _ in backbone.model.named_modules()]
    assert not torch.allclose(before, plain, atol=1e-2), "else there would be nothing to merge"
    with merged_plugs(backbone.model) as count:
        assert count
        assert not any(map(plugged, backbone.model.modules()))
        torch.testing.assert_close(scores(backbone), before, rtol=1e-3, atol=1e-3)
    assert [name for name, _ in backbone.model.named_modules()] == names
    assert torch.equal(scores(backbone), before)


@pytest.mark.parametrize("spelled", [*NOT_MERGED, *NOTHING_TO_MERGE])
def test_what_is_not_linear_or_not_inserted_is_left_alone(spelled: str, folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders["bert"])
    attach(parse(spelled), backbone)
    plugs = [len(plugged(module)) for module in backbone.model.modules()]
    with merged_plugs(backbone.model) as count:
        assert count == 0
        assert [len(plugged(module)) for module in backbone.model.modules()] == plugs


class Shift(nn.Module):
    """x + b."""

    merges: ClassVar[bool] = True

    def __init__(self, width: int):
        super().__init__()
        self.shift = nn.Parameter(torch.arange(1.0, width + 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


def test_a_leaf_without_a_bias_gets_one_if_a_plug_adds_a_constant() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU())
    plug(model, "0", "shift", lambda host, width: Shift(width), where="before")
    x = torch.randn(5, 3)
    expected = (x + torch.tensor([1.0, 2.0, 3.0])) @ model[0].weight.T
    with torch.no_grad(), merged_plugs(model) as count:
        assert count == 1
        assert model[0].bias is not None
        torch.testing.assert_close(model[0](x), expected)
    assert model[0].bias is None


def test_a_leaf_with_other_hooks_is_not_merged() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    plug(model, "0", "shift", lambda host, width: Shift(width), where="after")
    model[0].register_forward_hook(lambda module, args, output: output.relu())
    with merged_plugs(model) as count:
        assert count == 0
        assert len(hooks_of(model[0])) == 2


def test_the_model_is_the_methods_again_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    plug(model, "0", "shift", lambda host, width: Shift(width), where="after")
    host = model[0]
    with pytest.raises(KeyError), merged_plugs(model):
        raise KeyError
    assert model[0] is host
