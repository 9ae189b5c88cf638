"""The head of an encoder in transformers' own class for classifying texts, where that computes the same."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tunefront.bench.models.families.encoder import Encoder
from tunefront.bench.models.pooling import pooled_states
from tunefront.bench.quiet import quiet
from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLE = (2, 7)
"""Rows and tokens of the random input on which two models are compared."""
CLOSE = 1e-4
"""Outputs differ by less than this share of the largest one, in float32."""


@dataclass(frozen=True)
class HeadNames:
    """Name of a parameter in transformers' class -> its name in the suite's model, for all that the base model of the
    class does not have; `prefix` is that of the base model's own names."""

    names: Mapping[str, str]
    prefix: str


def head_names(backbone: Encoder) -> HeadNames:
    """Where the head of an encoder goes in `AutoModelForSequenceClassification`.

    It is found on a small random model of the same architecture, by the shapes of the parameters, and kept only if both
    then compute the same. Unsupported if they do not, as for a mean over tokens.
    """
    dense = backbone.head.dense is not None
    activation = type(backbone.head.activation).__name__ if dense else None
    found = _found(ConfigKey(backbone.model.config), backbone.pooling, activation, backbone.outputs)
    if isinstance(found, str):
        raise Unsupported(found)
    return found


class ConfigKey:
    """A configuration as a key: equal if their contents are."""

    def __init__(self, config: Any):  # Any: transformers' configurations
        self.config = config
        self._text = config.to_json_string(use_diff=False)

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfigKey) and other._text == self._text


@functools.lru_cache(maxsize=64)
def _found(key: ConfigKey, pooling: str, activation: str | None, outputs: int) -> HeadNames | str:
    """The names, or why there are none."""
    from transformers import AutoModelForSequenceClassification

    architecture = key.config.model_type
    missing = f"transformers has no class that classifies texts with {architecture}"
    try:
        small = _small(key.config, outputs)
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            whole = AutoModelForSequenceClassification.from_config(small).eval()
    except (ValueError, AttributeError, TypeError, RuntimeError, KeyError):
        return f"{missing}, as far as this suite can tell"
    prefix = whole.base_model_prefix
    base = getattr(whole, prefix, None)
    if base is None:
        return missing
    kept = _kept(base, pooling)
    extra = {name: value for name, value in whole.named_parameters() if name not in {f"{prefix}.{k}" for k in kept}}
    names = _by_shape(extra, outputs, int(small.hidden_size), activation is not None)
    computed = f"{type(whole).__name__} computes something else than a head on {POOLED[pooling]}"
    if names is None or not _computes_the_same(whole, base, pooling, activation, names):
        return f"{computed}, which no class of transformers has for {architecture}"
    return HeadNames(names, prefix)


POOLED: Mapping[str, str] = {
    "pooler": "the pooler's state",
    "first": "the first token's state",
    "mean": "the mean of the tokens' states",
}
"""What a head reads, by the name of its pooling."""


def _small(config: Any, outputs: int) -> Any:  # Any: as above
    small = copy.deepcopy(config)
    small.num_hidden_layers, small.vocab_size, small.num_labels = 1, 64, outputs
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if getattr(small, name, None) is not None:
            setattr(small, name, min(int(getattr(small, name)), 3))
    small.problem_type = None
    return small


def _kept(base: nn.Module, pooling: str) -> set[str]:
    """The parameters that the suite's model has under the same names: all but a pooler that nothing reads."""
    return {name for name, _ in base.named_parameters() if pooling == "pooler" or not name.startswith("pooler.")}


def _by_shape(extra: Mapping[str, Tensor], outputs: int, width: int, dense: bool) -> dict[str, str] | None:
    """The output layer and, if there is one, the dense layer, by their shapes; None if others are left."""
    wanted = {"head.output.weight": (outputs, width), "head.output.bias": (outputs,)}
    if dense:
        wanted |= {"head.dense.weight": (width, width), "head.dense.bias": (width,)}
    names: dict[str, str] = {}
    for name, value in extra.items():
        fitting = [ours for ours, shape in wanted.items() if shape == tuple(value.shape) and ours not in names.values()]
        if outputs == width:  # both layers have the same shapes: the dense one comes first
            fitting = [ours for ours in fitting if ours.startswith("head.dense")] or fitting
        if not fitting:
            return None
        names[name] = fitting[0]
    return names if set(names.values()) == set(wanted) else None


def _computes_the_same(
    whole: PreTrainedModel, base: nn.Module, pooling: str, activation: str | None, names: Mapping[str, str]
) -> bool:
    """Whether the class computes what the suite's head does on the pooled states of its base model."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(1)
        for _, value in whole.named_parameters():  # biases that start at zero would hide a wrong place
            value.add_(0.02 * torch.randn_like(value))
        inputs = random_inputs(whole)
        expected = whole(**inputs).logits
        output = base(**inputs)
        pooled = pooled_states(output, pooling)
        own = {ours: whole.get_parameter(name) for name, ours in names.items()}
        if activation is not None:
            function = _activation(activation)
            pooled = function(nn.functional.linear(pooled, own["head.dense.weight"], own["head.dense.bias"]))
        got = nn.functional.linear(pooled, own["head.output.weight"], own["head.output.bias"])
    return close(got, expected)


def _activation(name: str) -> nn.Module:
    from transformers.activations import ACT2CLS

    classes = {cls.__name__: cls for cls in ACT2CLS.values() if isinstance(cls, type)}
    known: Any = classes.get(name) or getattr(nn, name)
    made: nn.Module = known()
    return made


def random_inputs(model: nn.Module) -> dict[str, Tensor]:
    """The same random rows of full length for every model with these embeddings: `input_ids` and their mask."""
    words = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(min(4, words - 1), words, SAMPLE, generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def close(got: Tensor, expected: Tensor) -> bool:
    """Whether two outputs are equal but for rounding."""
    scale = float(expected.abs().max())
    return got.shape == expected.shape and torch.allclose(got, expected, rtol=0.0, atol=CLOSE * max(scale, 1e-6))
