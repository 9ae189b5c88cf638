"""What leads in a model: prompt embeddings before a stack's tokens, and keys and values before an attention's own.

One attention function is registered with transformers, as `ATTENTION`: it puts what the pass has for the attention
module that calls it before that module's own keys and values. The pass hands it down as a keyword argument, so that
nothing stays in the model, and blocks that are computed again in the backward pass (gradient checkpointing) get it
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tunefront.methods.base import AttentionShape, Batch, Stack, Unsupported

if TYPE_CHECKING:
    from tunefront.bench.models.scoring.prefix import KeysValues

ATTENTION = "tunefront_leads"
"""The name in a configuration of the attention that reads leads; without any it is transformers' `sdpa`."""
NAME = "lead"
"""The child of a model that makes what leads."""

Made = Mapping[str, "Tensor | KeysValues"]
"""What a lead's module gives: see `Backbone.lead`."""


@dataclass(frozen=True)
class Lengths:
    """How many tokens lead: `prompts` by stack, `keys` by attention, and `positions`, how many positions of each stack
    these take: keys that cross attention reads take none."""

    prompts: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, int] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """The most positions that are taken in a stack."""
        return max(self.positions.values(), default=0)

    def __bool__(self) -> bool:
        return bool(self.prompts or self.keys)


class LedKeys:
    """Keys and values that lead in one pass, by the attention module that reads them."""

    def __init__(self, states: Mapping[nn.Module, KeysValues]):
        self._states = states

    def before(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values (rows, heads, n + tokens, width) that the module reads."""
        if module not in self._states:
            return key, value
        led_key, led_value = self._states[module]
        return _joined(led_key, key), _joined(led_value, value)

    @property
    def tensors(self) -> list[Tensor]:
        """All keys and values."""
        return [part for states in self._states.values() for part in states]


class SeenKeys(LedKeys):
    """Lets every attention read what it would, and keeps what it read: `found` has each module's keys and values, and
    `queries` how many tokens looked at them. What is computed again in a backward pass is not kept again."""

    def __init__(self) -> None:
        super().__init__({})
        self.found: dict[nn.Module, KeysValues] = {}
        self.queries: dict[nn.Module, int] = {}

    def before(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if module not in self.found:
            kept = not torch.is_grad_enabled()  # as copies: what a fused projection gave would keep its queries too
            self.found[module] = (key.clone(), value.clone()) if kept else (key, value)
        self.queries.setdefault(module, query.shape[2])
        return key, value


@dataclass(frozen=True)
class Led:
    """What leads in one pass: `prompts` (n, width) by stack, `keys` by attention module, and `visible` (rows, n), False
    where a row must not look, None where all may."""

    prompts: Mapping[str, Tensor] = field(default_factory=dict)
    keys: LedKeys | None = None
    visible: Tensor | None = None

    @property
    def inputs(self) -> dict[str, Any]:  # Any: a keyword argument of a model's forward pass
        """What goes down to the attention function."""
        return {} if self.keys is None else {"leads": self.keys}

    def tokens(self, stack: str, module: PreTrainedModel, ids: Tensor) -> tuple[dict[str, Tensor], int]:
        """What a stack reads of the ids (rows, seq), and how many virtual tokens stand before them: the ids, or their
        embeddings (rows, n + seq, width) after those of a prompt."""
        if stack not in self.prompts:
            return {"input_ids": ids}, 0
        prompt = self.prompts[stack]
        words: Tensor = cast(nn.Module, module.get_input_embeddings())(ids)
        rows = prompt.to(words.dtype).expand(len(ids), -1, -1)
        return {"inputs_embeds": torch.cat([rows, words], dim=1)}, prompt.shape[0]

    @property
    def tensors(self) -> list[Tensor]:
        """All of it."""
        return [*self.prompts.values(), *(() if self.keys is None else self.keys.tensors)]


NOTHING = Led()
"""Of a model in which nothing leads."""


@dataclass(frozen=True)
class Kept:
    """What leads in every row that is scored, made once, and the weights that it was made of: other weights, or other
    values of them, make something else."""

    led: Led
    weights: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, model: nn.Module, led: Led) -> Kept:
        """Of the weights as they are now."""
        return cls(led, _versions(model))

    def holds_for(self, model: nn.Module) -> bool:
        """Whether the model would make the same now."""
        return self.weights == _versions(model)


def _versions(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """Each parameter and how often it was written to."""
    return tuple((id(parameter), parameter._version) for parameter in model.parameters())


def made(model: PreTrainedModel, module: nn.Module, batch: Batch | None = None) -> Led:
    """What leads in a pass through the model now; `batch` is what it trains on, None where it does not train."""
    if model.config._attn_implementation != ATTENTION:  # any other would leave out, silently, what leads
        raise RuntimeError(f"something leads in this model: its attention must stay {ATTENTION!r}")
    found: Made = module()
    states = {path: one for path, one in found.items() if not isinstance(one, Tensor)}
    keys = LedKeys({model.get_submodule(path): one for path, one in states.items()}) if states else None
    visible = getattr(module, "visible", None)
    return Led(
        {name: one for name, one in found.items() if isinstance(one, Tensor)},
        keys,
        None if visible is None or batch is None else visible(batch),
    )


def lengths(stacks: Sequence[Stack], found: object) -> Lengths:
    """How many tokens lead where; ValueError for what cannot lead in these stacks."""
    if not isinstance(found, Mapping) or not found:
        gives = "an empty mapping" if isinstance(found, Mapping) else type(found).__name__
        raise ValueError(
            f"a lead's module gives {gives}; it must give a mapping from a stack's name or an attention's path to what "
            "leads there (see Backbone.lead)"
        )
    known = [name for stack in stacks for name in (stack.name, *(attention.path for attention in stack.attentions))]
    unknown = [str(name) for name in found if name not in known]
    if unknown:
        raise ValueError(f"nothing can lead in {unknown[0]!r}; what can: {', '.join(known)}")
    prompts: dict[str, int] = {}
    keys: dict[str, int] = {}
    positions: dict[str, int] = {}
    for stack in stacks:
        led = [attention for attention in stack.attentions if attention.path in found]
        keys |= {attention.path: _keys_length(attention, found[attention.path]) for attention in led}
        sizes = {keys[attention.path] for attention in led if attention.kind == "self"}
        if len(sizes) > 1:
            raise ValueError(f"keys of different numbers of tokens, {sorted(sizes)}, lead in the {stack.name}")
        if stack.name in found:
            if sizes:
                raise ValueError(f"a prompt and keys lead in the {stack.name} at once; give one of them")
            prompts[stack.name] = _prompt_length(stack, found[stack.name])
            sizes.add(prompts[stack.name])
        positions[stack.name] = sizes.pop() if sizes else 0
    return Lengths(prompts, keys, positions)


def check_attention(model: PreTrainedModel) -> None:
    """Unsupported unless the model uses transformers' `sdpa`, the attention that `attend` can replace."""
    own = model.config._attn_implementation
    if own not in ("sdpa", ATTENTION):
        raise Unsupported(
            f"{model.config.model_type} computes its attention in its own way ({own}), in which no prompt and no keys "
            "and values can lead"
        )


def heed(model: PreTrainedModel) -> None:
    """Switches every attention of the model to `attend`, for as long as the model lives."""
    for config in _configs(model):
        config._attn_implementation = ATTENTION


def stacks_of(
    model: PreTrainedModel, widths: Mapping[str, tuple[PreTrainedModel, int]], run: Callable[[LedKeys], object]
) -> tuple[Stack, ...]:
    """What can lead where, found by running a few tokens: `run` takes them through all stacks, the encoder's more than
    the decoder's, and hands its argument down to attention.

    Args: widths, each stack's module and the width of its embeddings, by its name.
    """
    check_attention(model)
    seen = SeenKeys()
    with _heeding(model):
        run(seen)
    paths = {module: path for path, module in model.named_modules()}
    stacks = []
    for name, (stack, width) in widths.items():
        inside = set(stack.modules())
        attentions = tuple(
            AttentionShape(
                paths[module],
                "self" if seen.queries[module] == key.shape[2] else "cross",
                int(key.shape[1]),
                int(key.shape[3]),
            )
            for module, (key, _) in seen.found.items()
            if module in inside
        )
        if not attentions:
            raise Unsupported(f"the attention of {model.config.model_type} hands nothing down that could lead in it")
        stacks.append(Stack(name, width, attentions))
    return tuple(stacks)


def look_back(tokens: int, device: torch.device) -> Tensor:
    """The mask (1, 1, tokens, tokens) of a row that stands for itself: True where a token may look."""
    return torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril_()[None, None]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    leads: LedKeys | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **others: Any,  # Any: whatever else transformers hands to attention functions
) -> tuple[Tensor, None]:
    """transformers' `sdpa` on the tokens' keys and values with what leads on the module before them."""
    if leads is not None:
        own = key.shape[2]
        key, value = leads.before(module, query, key, value)
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        attention_mask = _mask_for(attention_mask, query.shape[2], key.shape[2], own, bool(causal), query.device)
        if position_bias is not None:
            position_bias = nn.functional.pad(position_bias, (key.shape[2] - own, 0))
    others = {**others, "is_causal": is_causal, "position_bias": position_bias}
    return cast(tuple[Tensor, None], sdpa_attention_forward(module, query, key, value, attention_mask, **others))


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, sdpa_mask)


def _mask_for(
    mask: Tensor | None, tokens: int, total: int, own: int, causal: bool, device: torch.device
) -> Tensor | None:
    """The mask (rows, 1, tokens, total) for keys of which the last `own` are the tokens' and those before them lead.

    Every token sees what leads. A mask that is wider than the tokens covers what leads already; its columns for what
    leads elsewhere, but not in this attention, are cut off. None means a causal mask where attention is causal, which
    sdpa would align with the first key; so it is spelled out.
    """
    if mask is None:
        if total == own or not causal or tokens == 1:
            return None
        return torch.ones(tokens, total, dtype=torch.bool, device=device).tril_(total - tokens)[None, None]
    if mask.shape[3] != own:
        return mask[..., mask.shape[3] - total :]
    if total == own:
        return mask
    allowed = torch.ones if mask.dtype == torch.bool else torch.zeros
    return torch.cat([allowed((*mask.shape[:3], total - own), dtype=mask.dtype, device=mask.device), mask], dim=3)


def _joined(led: Tensor, own: Tensor) -> Tensor:
    return torch.cat([led.to(own.dtype).expand(own.shape[0], -1, -1, -1), own], dim=2)


def _prompt_length(stack: Stack, prompt: object) -> int:
    """How many embeddings lead in a stack; ValueError for other shapes."""
    if not isinstance(prompt, Tensor) or prompt.dim() != 2 or prompt.shape[1] != stack.width:
        raise ValueError(f"what leads in the {stack.name} must be a tensor (n, {stack.width}), got {_of(prompt)}")
    return prompt.shape[0]


def _keys_length(attention: AttentionShape, states: object) -> int:
    """How many keys and values lead in an attention; ValueError for other shapes."""
    wanted = f"keys and values that lead in {attention.path} must each be (1, {attention.heads}, n, {attention.width})"
    if not isinstance(states, tuple | list) or len(states) != 2 or not all(isinstance(one, Tensor) for one in states):
        raise ValueError(f"{wanted}, got {_of(states)}")
    for one in states:
        shape = tuple(one.shape)
        if len(shape) != 4 or shape != (1, attention.heads, states[0].shape[2], attention.width):
            raise ValueError(f"{wanted}, got {_of(states)}")
    return int(states[0].shape[2])


def _of(found: object) -> str:
    if isinstance(found, Tensor):
        return str(tuple(found.shape))
    if isinstance(found, tuple | list):
        return f"{len(found)} of {', '.join(map(_of, found))}"
    return type(found).__name__


def _configs(model: PreTrainedModel) -> list[Any]:  # Any: transformers' configurations
    """The configurations in which attention modules look up how to attend: those of every stack."""
    parts = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    return list({id(part.config): part.config for part in parts}.values())


@contextmanager
def _heeding(model: PreTrainedModel) -> Iterator[None]:
    before = [(config, config._attn_implementation) for config in _configs(model)]
    try:
        heed(model)
        yield
    finally:
        for config, own in before:
            config._attn_implementation = own
