"""Compares the norms of a sites record with those of a model, and says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tunefront.bench.models.families.logits import FAILURES, evaluating
from tunefront.methods.base import Unsupported
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def norm_advice(model: PreTrainedModel, sites: Sites, states: Callable[[], Tensor]) -> Iterator[str]:
    """What is wrong with the norms of the record, and the cure: norms that it does not name, which methods that train
    all norms would leave out; and another final norm than the one after which `states` returns the states."""
    norms = {path: module for path, module in model.named_modules() if _is_trained_norm(module)}
    kind = str(model.config.model_type)
    missed = [path for path in norms if not re.fullmatch(sites.norms, path)]
    if missed:
        patterns = "|".join(dict.fromkeys(map(site_of, missed)))
        yield (
            f"the sites record of {kind} does not name {len(missed)} of the model's {len(norms)} norms, such as "
            f"{missed[0]}; methods that train norms leave them frozen. Add them to its `norms`: |{patterns}"
        )
    last = _last_norm(model, norms, states)
    if last is not None and (sites.final_norm is None or not re.fullmatch(sites.final_norm, last)):
        yield (
            f"the sites record of {kind} has {sites.final_norm!r} as the norm after the last block, and it is {last}; "
            f'write final_norm=r"{site_of(last)}"'
        )


def site_of(path: str) -> str:
    """A regex for the modules at this path in every block."""
    return re.sub(r"(?<=\.)\d+(?=\\?\.|$)", r"\\d+", re.escape(path))


def _is_trained_norm(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "norm" in name and any(True for _ in module.parameters(recurse=False))


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
