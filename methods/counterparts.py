"""The layouts of other libraries for what methods train: `Method.exported` is written with them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Exported, Unsupported
from tunefront.methods.inject import plugged, width


def plugs_of(model: nn.Module, name: str) -> dict[str, nn.Module]:
    """The modules that `plug` added under this name, by the paths of their hosts."""
    return {path: getattr(host, name) for path, host in model.named_modules() if plugged(host) and hasattr(host, name)}


def any_of(*sites: str | None) -> str:
    """One regex for the modules of several sites, matched in full, as peft does with `target_modules`."""
    return "|".join(f"(?:{site})" for site in sites if site is not None)


def check_prompt(backbone: Backbone) -> None:
    """Unsupported for a prompt of embeddings that peft does not place as this suite does: on all but decoders."""
    family = backbone.sites.family
    if family == "decoder":
        return
    reason = (
        "has a prompt in the encoder only, and this one has another in the decoder"
        if family == "seq2seq"
        else "puts a prompt before an encoder's first token, and a head then reads the prompt's states"
    )
    raise Unsupported(f"peft {reason}")


def peft_prefix(backbone: Backbone, layers: Sequence[tuple[Tensor, Tensor]], kind: str) -> Exported:
    """Keys and values before those of every self-attention, in peft's layout.

    Args: layers, of each block in order, each (1, heads, n, width); kind, of peft, `PREFIX_TUNING` or `CARTRIDGE`.
    Errors: Unsupported for an encoder-decoder, where peft has no prefix in the encoder and in cross-attention, and for
    an encoder that takes no cache, as which peft hands the prefix over.
    """
    if backbone.sites.family == "seq2seq":
        raise Unsupported(
            "peft gives an encoder-decoder a prefix in the decoder's self-attention only, and this one has others"
        )
    if backbone.sites.family == "encoder" and not _takes_cache(backbone.model):
        name = type(backbone.model).__name__
        raise Unsupported(f"peft hands a prefix over as a cache of keys and values, which {name} does not take")
    if len({part.shape for layer in layers for part in layer}) != 1:
        raise Unsupported("peft's prefix has the same heads and the same length in every block")
    _, heads, tokens, size = layers[0][0].shape
    rows = [part[0].transpose(0, 1).reshape(tokens, heads * size) for layer in layers for part in layer]
    config = {
        "peft_type": kind,
        "num_virtual_tokens": tokens,
        "num_layers": len(layers),
        "token_dim": heads * size,
        "num_attention_heads": heads,
        "num_transformer_submodules": 1,
    }
    return Exported(config, {PROMPT: torch.cat(rows, dim=1)})


def _takes_cache(model: nn.Module) -> bool:
    return "past_key_values" in inspect.signature(type(model).forward).parameters


PROMPT = "prompt_embeddings"
"""peft's name of the one tensor of a prompt or a prefix."""


def bottlenecks(
    backbone: Backbone, plugs: Mapping[str, nn.Module], nonlinearity: str, attention: bool, norms: bool
) -> Exported:
    """Residual bottlenecks after sublayers, before the residual sum and the layer norm, in AdapterHub's layout.

    Args: plugs, by the path of their hosts, each with the linear layers `down` and `up`; nonlinearity, as AdapterHub
    names it; attention, whether those sublayers have them too; norms, whether layer norms were trained, for which the
    format has no place: Unsupported. Tensors are named by their hosts.
    """
    if norms:
        raise Unsupported("AdapterHub's format has no place for trained layer norms; train with norms=false")
    host, first = next(iter(plugs.items()))
    wide, narrow = width(backbone.model, backbone.model.get_submodule(host), "out"), first.down.out_features  # type: ignore[union-attr]
    config = {
        "mh_adapter": attention,
        "output_adapter": True,
        "cross_adapter": attention and backbone.sites.family == "seq2seq",
        "reduction_factor": reduction(wide, int(narrow)),  # type: ignore[arg-type]
        "non_linearity": nonlinearity,
        "original_ln_before": False,
        "original_ln_after": True,
        "residual_before_ln": True,
        "adapter_residual_before_ln": False,
        "ln_before": False,
        "ln_after": False,
    }
    parts = {"down": "adapter_down.0", "up": "adapter_up"}
    tensors = {
        f"{path}.{theirs}.{name}": value
        for path, plug in plugs.items()
        for ours, theirs in parts.items()
        for name, value in plug.get_submodule(ours).named_parameters()
    }
    return Exported(config, tensors)


def reduction(wide: int, narrow: int) -> float:
    """The factor from which AdapterHub computes the bottleneck: it takes the whole part of the width over it."""
    exact = wide / narrow
    return exact if int(wide // exact) == narrow else wide / (narrow + 0.5)
