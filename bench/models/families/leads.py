"""The lead of a model: prompt embeddings before a stack's tokens, or keys and values before an attention's own.

This module registers an attention function with transformers, as `ATTENTION`. It puts the lead's keys and values before
those of the attention module that calls it. The forward pass hands the lead down as a keyword argument, so nothing
stays in the model, and blocks that the backward pass computes again (gradient checkpointing) get it again.
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
"""The name of the attention that reads leads, in a configuration; without a lead it is transformers' `sdpa`."""
NAME = "lead"
"""The name of the child module that computes the lead."""

LeadOutput = Mapping[str, "Tensor | KeysValues"]
"""The output of a lead's module: see `Backbone.lead`."""


@dataclass(frozen=True)
class LeadLengths:
    """Lengths of a lead in tokens: `prompts` by stack, `keys` by attention, and `positions`, the positions that they
    take in each stack; keys of a cross-attention take none."""

    prompts: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, int] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """The most positions that the lead takes in a stack."""
        return max(self.positions.values(), default=0)

    def __bool__(self) -> bool:
        return bool(self.prompts or self.keys)


class LedKeys:
    """The lead's keys and values in one pass, by the attention module that reads them."""

    def __init__(self, states: Mapping[nn.Module, KeysValues]):
        self._states = states

    def before(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values (rows, heads, n + tokens, width) that the module reads."""
        if module not in self._states:
            return key, value
        led_key, led_value = self._states[module]
        return _prepend(led_key, key), _prepend(led_value, value)

    def visible(self, module: nn.Module) -> Tensor | None:
        """(rows, 1, tokens, n) or broadcastable to it, False where a token must not attend to the module's leading
        keys; None if every token may."""
        return None

    @property
    def states(self) -> Mapping[nn.Module, KeysValues]:
        """The leading keys and values by attention module."""
        return self._states

    @property
    def tensors(self) -> list[Tensor]:
        """All keys and values."""
        return [part for states in self._states.values() for part in states]


class SeenKeys(LedKeys):
    """Adds nothing, and records what each attention module reads: its keys and values (`recorded`), and the number of
    tokens that query them (`queries`). A second computation in the backward pass is not recorded."""

    def __init__(self) -> None:
        super().__init__({})
        self.recorded: dict[nn.Module, KeysValues] = {}
        self.queries: dict[nn.Module, int] = {}

    def before(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if module not in self.recorded:
            copies = not torch.is_grad_enabled()  # views of a fused projection would keep its queries in memory too
            self.recorded[module] = (key.clone(), value.clone()) if copies else (key, value)
        self.queries.setdefault(module, query.shape[2])
        return key, value


@dataclass(frozen=True)
class Led:
    """The lead in one pass: `prompts` (n, width) by stack, `keys` by attention module, and `visible` (rows, n), False
    where a row must not attend to it, None if all rows may. `starts` is the position of the first real token, by stack:
    a number, or one per row (rows, 1); absent where the model's own numbering of its input is right."""

    prompts: Mapping[str, Tensor] = field(default_factory=dict)
    keys: LedKeys | None = None
    visible: Tensor | None = None
    starts: Mapping[str, int | Tensor] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, Any]:  # Any: a keyword argument of a model's forward pass
        """Keyword arguments for the attention function."""
        return {} if self.keys is None else {"leads": self.keys}

    def tokens(self, stack: str, module: PreTrainedModel, ids: Tensor) -> tuple[dict[str, Tensor], int]:
        """A stack's input for the ids (rows, seq), and the number of virtual tokens before them: the ids themselves, or
        their embeddings (rows, n + seq, width) after those of a prompt."""
        if stack not in self.prompts:
            return {"input_ids": ids}, 0
        prompt = self.prompts[stack]
        words: Tensor = cast(nn.Module, module.get_input_embeddings())(ids)
        rows = prompt.to(words.dtype).expand(len(ids), -1, -1)
        return {"inputs_embeds": torch.cat([rows, words], dim=1)}, prompt.shape[0]

    def real(self, stack: str, mask: Tensor, virtual: int) -> Tensor:
        """The attention mask (rows, virtual + seq) of a stack's input, given that of its real tokens (rows, seq)."""
        return torch.cat([mask.new_ones(len(mask), virtual), mask], dim=1)

    def decoded(self, ids: Tensor) -> Tensor | None:
        """The mask (rows, seen + tokens) of a decoder's input, given the ids that it decodes now and cached ones; None
        if it attends to all of them."""
        return None

    @property
    def tensors(self) -> list[Tensor]:
        """All prompts, keys and values."""
        return [*self.prompts.values(), *(() if self.keys is None else self.keys.tensors)]


NO_LEAD = Led()
"""The lead of a model without one."""


@dataclass(frozen=True)
class KeptLead:
    """The lead for all rows that are scored, computed once, with the versions of the weights that it depends on."""

    led: Led
    weights: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, model: nn.Module, led: Led) -> KeptLead:
        """A lead with the current versions of the weights."""
        return cls(led, _versions(model))

    def holds_for(self, model: nn.Module) -> bool:
        """Whether the weights have not changed since."""
        return self.weights == _versions(model)


def _versions(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """The identity and the write counter of each parameter."""
    return tuple((id(parameter), parameter._version) for parameter in model.parameters())


def make_led(model: PreTrainedModel, module: nn.Module, lengths: LeadLengths, batch: Batch | None = None) -> Led:
    """Computes the lead of a pass, which has these lengths; `batch` is the training batch, None in scoring."""
    if model.config._attn_implementation != ATTENTION:  # any other would silently ignore the lead
        raise RuntimeError(f"this model has a lead: its attention must stay {ATTENTION!r}")
    output: LeadOutput = module()
    states = {path: value for path, value in output.items() if not isinstance(value, Tensor)}
    keys = LedKeys({model.get_submodule(path): value for path, value in states.items()}) if states else None
    visible = getattr(module, "visible", None)
    return Led(
        {name: value for name, value in output.items() if isinstance(value, Tensor)},
        keys,
        None if visible is None or batch is None else visible(batch),
        {name: n for name, n in lengths.positions.items() if name not in lengths.prompts},
    )


def lead_lengths(stacks: Sequence[Stack], output: object) -> LeadLengths:
    """The lengths of a lead, given its module's output; ValueError for a lead that these stacks cannot take."""
    if not isinstance(output, Mapping) or not output:
        returned = "an empty mapping" if isinstance(output, Mapping) else type(output).__name__
        raise ValueError(
            f"the lead's module returned {returned}; it must return a mapping from a stack's name or an attention's "
            "path to its lead (see Backbone.lead)"
        )
    known = [name for stack in stacks for name in (stack.name, *(attention.path for attention in stack.attentions))]
    unknown = [str(name) for name in output if name not in known]
    if unknown:
        raise ValueError(f"no lead can be placed in {unknown[0]!r}; possible places: {', '.join(known)}")
    prompts: dict[str, int] = {}
    keys: dict[str, int] = {}
    positions: dict[str, int] = {}
    for stack in stacks:
        led = [attention for attention in stack.attentions if attention.path in output]
        keys |= {attention.path: _keys_length(attention, output[attention.path]) for attention in led}
        sizes = {keys[attention.path] for attention in led if attention.kind == "self"}
        if len(sizes) > 1:
            raise ValueError(f"the leads in the {stack.name} have different numbers of keys: {sorted(sizes)}")
        if stack.name in output:
            if sizes:
                raise ValueError(f"the lead in the {stack.name} has both a prompt and keys; give one of them")
            prompts[stack.name] = _prompt_length(stack, output[stack.name])
            sizes.add(prompts[stack.name])
        positions[stack.name] = sizes.pop() if sizes else 0
    return LeadLengths(prompts, keys, positions)


def check_attention(model: PreTrainedModel) -> None:
    """Unsupported unless the model uses transformers' `sdpa`, the attention that `attend` can replace."""
    own = model.config._attn_implementation
    if own not in ("sdpa", ATTENTION):
        raise Unsupported(
            f"{model.config.model_type} has its own attention implementation ({own}), which takes no lead (prompts, or "
            "keys and values)"
        )


def use_lead_attention(model: PreTrainedModel) -> None:
    """Switches every attention of the model to `attend`, permanently."""
    for config in _configs(model):
        config._attn_implementation = ATTENTION


def stacks_of(
    model: PreTrainedModel, widths: Mapping[str, tuple[PreTrainedModel, int]], run: Callable[[LedKeys], object]
) -> tuple[Stack, ...]:
    """Where a lead can be placed, found by running a few tokens: `run` sends them through all stacks, more through the
    encoder than through the decoder, and hands its argument down to the attention.

    Args: widths, each stack's module and the width of its embeddings, by the stack's name.
    """
    check_attention(model)
    recorder = SeenKeys()
    with lead_attention(model):
        run(recorder)
    paths = {module: path for path, module in model.named_modules()}
    stacks = []
    for name, (stack, width) in widths.items():
        inside = set(stack.modules())
        attentions = tuple(
            AttentionShape(
                paths[module],
                "self" if recorder.queries[module] == key.shape[2] else "cross",
                int(key.shape[1]),
                int(key.shape[3]),
            )
            for module, (key, _) in recorder.recorded.items()
            if module in inside
        )
        if not attentions:
            raise Unsupported(
                f"the attention of {model.config.model_type} does not pass keyword arguments on, which a lead needs"
            )
        stacks.append(Stack(name, width, attentions))
    return tuple(stacks)


def causal_mask(tokens: int, device: torch.device) -> Tensor:
    """The causal mask (1, 1, tokens, tokens) of a row: True where a token may attend."""
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
    **others: Any,  # Any: further arguments from transformers
) -> tuple[Tensor, None]:
    """transformers' `sdpa`, with the lead's keys and values before those of the tokens."""
    if leads is not None:
        own = key.shape[2]
        key, value = leads.before(module, query, key, value)
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        attention_mask = _mask_for(attention_mask, query.shape[2], key.shape[2], own, bool(causal), query.device)
        visible = leads.visible(module)
        if visible is not None:
            attention_mask = _hidden(attention_mask, visible, query.shape[2], key.shape[2])
        if position_bias is not None:
            position_bias = nn.functional.pad(position_bias, (key.shape[2] - own, 0))
    others = {**others, "is_causal": is_causal, "position_bias": position_bias}
    return cast(tuple[Tensor, None], sdpa_attention_forward(module, query, key, value, attention_mask, **others))


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, sdpa_mask)


def _mask_for(
    mask: Tensor | None, tokens: int, total: int, own: int, causal: bool, device: torch.device
) -> Tensor | None:
    """The mask (rows, 1, tokens, total) over the lead's keys and then the `own` keys of the tokens.

    Every token sees the lead. A mask that is wider than the tokens already covers it; its columns for leads of other
    attentions are cut off. In a causal attention, None means a causal mask, which sdpa would align with the first key;
    so the mask is written out.
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


def _hidden(mask: Tensor | None, visible: Tensor, tokens: int, total: int) -> Tensor:
    """The mask (rows, 1, tokens, total), None for one that hides nothing, with leading keys hidden where they are not
    `visible`."""
    if mask is None:
        mask = torch.ones(1, 1, 1, total, dtype=torch.bool, device=visible.device)
    leading, own = mask[..., : visible.shape[3]], mask[..., visible.shape[3] :]
    leading = leading & visible if mask.dtype == torch.bool else leading.masked_fill(~visible, -torch.inf)
    rows = max(len(own), len(leading))
    return torch.cat([part.expand(rows, -1, tokens, -1) for part in (leading, own)], dim=3)


def _prepend(led: Tensor, own: Tensor) -> Tensor:
    return torch.cat([led.to(own.dtype).expand(own.shape[0], -1, -1, -1), own], dim=2)


def _prompt_length(stack: Stack, prompt: object) -> int:
    """The number of a lead's embeddings in a stack; ValueError for other shapes."""
    if not isinstance(prompt, Tensor) or prompt.dim() != 2 or prompt.shape[1] != stack.width:
        raise ValueError(f"the lead in the {stack.name} must be a tensor (n, {stack.width}), got {_describe(prompt)}")
    return prompt.shape[0]


def _keys_length(attention: AttentionShape, states: object) -> int:
    """The number of a lead's keys and values in an attention; ValueError for other shapes."""
    wanted = f"the lead's keys and values in {attention.path} must each be (1, {attention.heads}, n, {attention.width})"
    if (
        not isinstance(states, tuple | list)
        or len(states) != 2
        or not all(isinstance(state, Tensor) for state in states)
    ):
        raise ValueError(f"{wanted}, got {_describe(states)}")
    for state in states:
        shape = tuple(state.shape)
        if len(shape) != 4 or shape != (1, attention.heads, states[0].shape[2], attention.width):
            raise ValueError(f"{wanted}, got {_describe(states)}")
    return int(states[0].shape[2])


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, tuple | list):
        return f"{len(value)} of {', '.join(map(_describe, value))}"
    return type(value).__name__


def _configs(model: PreTrainedModel) -> list[Any]:  # Any: transformers' configurations
    """The configurations that name the attention implementation, one or more per stack."""
    parts = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    return list({id(part.config): part.config for part in parts}.values())


@contextmanager
def lead_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within the block, every attention of the model is `attend`."""
    before = [(config, config._attn_implementation) for config in _configs(model)]
    try:
        use_lead_attention(model)
        yield
    finally:
        for config, own in before:
            config._attn_implementation = own
