"""Compares the norms of a sites record with those of a model, and says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tunefront.bench.models.families.logits import FAILURES, evaluating
from tunefront.methods.base import Unsupported
from tunefront.methods.inject import is_norm
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def missed_norms(model: PreTrainedModel, sites: Sites) -> str | None:
    """Norms that the record does not name, which methods that train all norms would leave out, and the cure; None if
    there are none."""
    norms = trained_norms(model)
    missed = [path for path in norms if not re.fullmatch(sites.norms or "", path)]
    if not missed:
        return None
    patterns = "|".join(dict.fromkeys(map(site_of, missed)))
    return (
        f"the sites record of {model.config.model_type} does not name {len(missed)} of the model's {len(norms)} norms, "
        f"such as {missed[0]}; methods that train norms leave them frozen. Add them to its `norms`: |{patterns}"
    )


def other_final_norm(model: PreTrainedModel, sites: Sites, states: Callable[[], Tensor]) -> str | None:
    """Another final norm than that of the record, after which `states` returns the states, and the cure; None if the
    record is right."""
    last = _last_norm(model, trained_norms(model), states)
    if last is None or (sites.final_norm is not None and re.fullmatch(sites.final_norm, last)):
        return None
    return (
        f"the sites record of {model.config.model_type} has {sites.final_norm!r} as the norm after the last block, and "
        f'it is {last}; write final_norm=r"{site_of(last)}"'
    )


def trained_norms(model: nn.Module) -> dict[str, nn.Module]:
    """The norms that have parameters, by path."""
    return {path: module for path, module in model.named_modules() if is_norm(module)}


def site_of(path: str) -> str:
    """A regex for the modules at this path in every block."""
    return re.sub(r"(?<=\.)\d+(?=\\?\.|$)", r"\\d+", re.escape(path))


def _last_norm(model: PreTrainedModel, norms: dict[str, nn.Module], states: Callable[[], Tensor]) -> str | None:
    """The path of the norm whose output is the states; None if there is none, or the model returns no states."""
    seen: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda module, args, output: seen.update({path: output})

    hooks = [module.register_forward_hook(keep(path)) for path, module in norms.items()]
    try:
        with evaluating(model):
            last = states()
    except (*FAILURES, Unsupported):
        return None
    finally:
        for hook in hooks:
            hook.remove()
    same = [path for path, output in seen.items() if output.shape == last.shape and bool((output == last).all())]
    return same[-1] if same else None
