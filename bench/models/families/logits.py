"""How a language model computes logits from its last states: often by the output layer alone.

Some models scale their logits (Granite, Cohere), cap them (Gemma 2) or leave some out. What a checkpoint does is found
out once, by comparing ways of computing logits with its own forward pass on a few tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from tunefront.bench.models.config_files import short_message
from tunefront.methods.base import Unsupported
from tunefront.methods.torch_internals import FakeTensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("tunefront")


@dataclass(frozen=True)
class Output:
    """How logits are computed: `plain`, by the output layer from the states; `own`, by the model's own code after its
    module `after`; `whole`, by the model's whole forward pass, at every position."""

    way: Literal["plain", "own", "whole"] = "plain"
    after: str = ""


PLAIN = Output()
Logits = Callable[[Tensor], Tensor]
"""Maps states (rows, tokens, width) to logits (rows, tokens, vocabulary)."""

CheckpointKey = tuple[type, str, str]

_OUTPUTS: dict[CheckpointKey, Output] = {}
"""The result by checkpoint, for the life of the process."""
FAILURES = (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError, NotImplementedError)
"""The exceptions of models that do not accept an input."""
_SCALE_UP = 64.0
"""Factor of larger states that are tried too: a cap hardly changes small logits."""


def has_values(model: nn.Module) -> bool:
    """Whether the model can be run for a trial: False if its parameters are fake."""
    return not isinstance(next(model.parameters()), FakeTensor)


def find_output(
    model: PreTrainedModel,
    plain: Logits,
    states: Callable[[], Tensor],
    truth: Callable[[], Tensor],
    confirm: Callable[[Output], bool] = lambda output: True,
) -> Output:
    """How the checkpoint computes logits; `states` returns a few states, `truth` the model's own logits for them, and
    `confirm` says whether scores of longer texts are right with what was found, else they need whole texts.

    Errors: Unsupported for a model whose own forward pass fails.
    """
    if not has_values(model):
        return PLAIN
    key = checkpoint_key(model)
    if key not in _OUTPUTS:
        with evaluating(model):
            found = _find(model, plain, _states(states), _truth(model, truth))
            _OUTPUTS[key] = found if found.way == "whole" or confirm(found) else Output("whole")
        if _OUTPUTS[key].way == "whole":
            log.warning("%s computes logits only for whole texts, so scoring takes longer", type(model).__name__)
    return _OUTPUTS[key]


def checkpoint_key(model: PreTrainedModel) -> CheckpointKey:
    """The key of results: class, folder and configuration."""
    return type(model), str(model.config.name_or_path), model.config.to_json_string(use_diff=False)


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Runs a block in evaluation mode, in full precision and without gradients."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            yield
    finally:
        model.train(training)


def own_logits(model: PreTrainedModel, after: str, states: Tensor) -> Tensor:
    """The model's logits if the output of its module `after` is replaced by `states` (rows, tokens, width)."""
    from transformers import modeling_outputs as outputs

    module = model.get_submodule(after)
    ids = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
    inputs: dict[str, object] = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        read = outputs.BaseModelOutput(last_hidden_state=states[:, :1])  # never read: the decoder does not run
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
    """The states, None if the model does not return any without logits."""
    try:
        return states()
    except (*FAILURES, Unsupported) as error:
        log.debug("the model returns no states without logits: %s", error)
        return None


def _truth(model: PreTrainedModel, truth: Callable[[], Tensor]) -> Tensor:
    try:
        return truth()
    except FAILURES as error:
        raise Unsupported(
            f"{type(model).__name__} cannot be used here: its own forward pass fails on a few tokens with a mask "
            f"({type(error).__name__}: {short_message(error)})"
        ) from error


def _find(model: PreTrainedModel, plain: Logits, states: Tensor | None, truth: Tensor) -> Output:
    if states is None:
        return Output("whole")
    after = next((path for path in body_paths(model) if _agree(lambda: own_logits(model, path, states), truth)), None)  # noqa: B023
    if after is None:
        return PLAIN if _agree(lambda: plain(states), truth) else Output("whole")
    trials = (states, states * _SCALE_UP)
    plainly = all(_agree(lambda: plain(trial), own_logits(model, after, trial)) for trial in trials)  # noqa: B023
    return PLAIN if plainly else Output("own", after)


def body_paths(model: PreTrainedModel) -> list[str]:
    """Paths of the modules whose states may be the input of the logits, the likeliest first; the model itself if no
    part of it is a model. If it is a part of a larger model (Llama 4), its own methods do not name that module."""
    parts = [model.base_model, model.get_decoder(), *(part for part in model.children() if hasattr(part, "base_model"))]
    return [path for part in parts for path, module in model.named_modules() if module is part and path] or [""]


def _agree(logits: Callable[[], Tensor], truth: Tensor) -> bool:
    """Whether two predictions are equal up to rounding; False if the first fails."""
    try:
        actual = logits()
    except FAILURES as error:
        log.debug("logits cannot be computed this way: %s", error)
        return False
    if actual.shape != truth.shape:
        return False
    first, second = (values.float().log_softmax(-1) for values in (actual, truth))
    return bool(torch.allclose(first, second, rtol=1e-4, atol=1e-4))
