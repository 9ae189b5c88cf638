"""From a language model's last states to its logits: the output layer alone where that is all that the model does.

Some models scale their logits (Granite, Cohere), cap them (Gemma 2) or leave some out. What a checkpoint does is found
out once, on a few tokens, against its own forward pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from tunefront.bench.models.config_files import gist
from tunefront.methods.base import Unsupported
from tunefront.methods.torch_internals import FakeTensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("tunefront")


@dataclass(frozen=True)
class Head:
    """How logits are computed: `plain`, by the output layer on the states; `own`, by what the model itself does with
    the states of its module `after`; `whole`, by the model's own forward pass from its inputs, at every place."""

    way: Literal["plain", "own", "whole"] = "plain"
    after: str = ""


PLAIN = Head()
Logits = Callable[[Tensor], Tensor]
"""From states (rows, tokens, width) to logits (rows, tokens, vocabulary)."""

Checkpoint = tuple[type, str, str]

_FOUND: dict[Checkpoint, Head] = {}
"""What was found out about checkpoints, for the life of the process."""
FAILURES = (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError, NotImplementedError)
"""What models fail with that do not take what they are given."""
_LARGE = 64.0
"""How much larger states are tried too: a cap does next to nothing to small logits."""


def has_values(model: nn.Module) -> bool:
    """Whether anything can be tried on the model: not where its parameters are fake."""
    return not isinstance(next(model.parameters()), FakeTensor)


def head_of(model: PreTrainedModel, plain: Logits, states: Callable[[], Tensor], truth: Callable[[], Tensor]) -> Head:
    """How the checkpoint's logits are computed; `states` gives a few states, `truth` the model's own logits for them.

    Errors: Unsupported for a model whose own forward pass fails.
    """
    if not has_values(model):
        return PLAIN
    key = checkpoint(model)
    if key not in _FOUND:
        with trying(model):
            _FOUND[key] = _find(model, plain, _states(states), _truth(model, truth))
        if _FOUND[key].way == "whole":
            log.warning("%s gives logits only for whole texts, so that scoring takes longer", type(model).__name__)
    return _FOUND[key]


def checkpoint(model: PreTrainedModel) -> Checkpoint:
    """What a finding holds for: the class, the folder and the configuration."""
    return type(model), str(model.config.name_or_path), model.config.to_json_string(use_diff=False)


@contextmanager
def trying(model: PreTrainedModel) -> Iterator[None]:
    """As in evaluation, in full precision and without gradients."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            yield
    finally:
        model.train(training)


def own_logits(model: PreTrainedModel, after: str, states: Tensor) -> Tensor:
    """What the model does with the states (rows, tokens, width) of its module `after`, whose place they take."""
    from transformers import modeling_outputs as outputs

    module = model.get_submodule(after)
    ids = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
    inputs: dict[str, object] = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        read = outputs.BaseModelOutput(last_hidden_state=states[:, :1])  # nothing looks at it: the decoder does not run
        inputs = {"encoder_outputs": read, "attention_mask": torch.ones_like(ids[:, :1]), "decoder_input_ids": ids}
    both = model.config.is_encoder_decoder and module is model.base_model
    kind = outputs.Seq2SeqModelOutput if both else outputs.BaseModelOutputWithPastAndCrossAttentions
    output = kind(last_hidden_state=states)
    module.forward = lambda *_, **__: output
    try:
        return cast(Tensor, model(**inputs, use_cache=False).logits)
    finally:
        del module.forward


def _states(states: Callable[[], Tensor]) -> Tensor | None:
    """None where the model gives none by themselves."""
    try:
        return states()
    except (*FAILURES, Unsupported) as error:
        log.debug("there are no states apart from logits: %s", error)
        return None


def _truth(model: PreTrainedModel, truth: Callable[[], Tensor]) -> Tensor:
    try:
        return truth()
    except FAILURES as error:
        raise Unsupported(
            f"{type(model).__name__} cannot be asked here: its own forward pass fails on a few tokens with their mask "
            f"({type(error).__name__}: {gist(error)})"
        ) from error


def _find(model: PreTrainedModel, plain: Logits, states: Tensor | None, truth: Tensor) -> Head:
    if states is None:
        return Head("whole")
    after = next((path for path in bodies(model) if _equal(lambda: own_logits(model, path, states), truth)), None)  # noqa: B023
    if after is None:
        return PLAIN if _equal(lambda: plain(states), truth) else Head("whole")
    tried = (states, states * _LARGE)
    alone = all(_equal(lambda: plain(some), own_logits(model, after, some)) for some in tried)  # noqa: B023
    return PLAIN if alone else Head("own", after)


def bodies(model: PreTrainedModel) -> list[str]:
    """The modules whose states the model may make its logits of, the likeliest first; the model itself where it has no
    part that is a model. Where it is itself a part of a larger one (Llama 4), its own methods do not name it."""
    parts = [model.base_model, model.get_decoder(), *(part for part in model.children() if hasattr(part, "base_model"))]
    return [path for part in parts for path, module in model.named_modules() if module is part and path] or [""]


def _equal(logits: Callable[[], Tensor], truth: Tensor) -> bool:
    """Whether predictions are the same but for rounding; not where none can be made."""
    try:
        found = logits()
    except FAILURES as error:
        log.debug("logits cannot be made so: %s", error)
        return False
    if found.shape != truth.shape:
        return False
    first, second = (some.float().log_softmax(-1) for some in (found, truth))
    return bool(torch.allclose(first, second, rtol=1e-4, atol=1e-4))
