"""What the forms of other libraries share: what a method says of itself, and what stands beside it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from tunefront.bench.checkpoints.exports.heads import POOLED, random_inputs
from tunefront.bench.checkpoints.exports.merged import logits, sample
from tunefront.bench.models import locate
from tunefront.bench.models.families.decoder import Decoder
from tunefront.bench.models.families.encoder import Encoder
from tunefront.bench.models.families.leads import NO_LEAD
from tunefront.bench.models.scoring.packing import pack
from tunefront.methods.base import LIBRARIES, Exported, Method, Unsupported
from tunefront.methods.counterparts import peft_prefix
from tunefront.methods.inject import plugged
from tunefront.methods.torch_internals import storage_key

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from tunefront.bench.checkpoints.exports.form import Exportable
    from tunefront.bench.checkpoints.loading import Fitted
    from tunefront.bench.models.families import Backbone
    from tunefront.bench.models.scoring.prefix import KeysValues
    from tunefront.methods.base import Library

HEAD_NAME = "head.safetensors"
"""The file of a head for which a library has no place."""
SAMPLE_NAME = "sample.safetensors"
"""The file of random rows and of the fitted model's own outputs for them."""


@dataclass(frozen=True)
class Counterpart:
    """A fitted method in the form of a library; `also` are the trained parameters of the backbone itself, by name."""

    exported: Exported
    also: Mapping[str, Tensor]


def counterpart(subject: Exportable, library: Library) -> Counterpart:
    """The form that the method has in a library. Unsupported, with the reason, if it has none."""
    method, backbone = subject.method, subject.backbone
    _check_own_form(method)
    if not isinstance(backbone, Encoder) and backbone.head is not None:
        raise Unsupported("no library has this head on a language model")
    exported = method.exported(library, backbone)
    if layers := read_prefix(subject):
        if exported.tensors:
            raise Unsupported(f"{LIBRARIES[library]} has no form for demonstrations together with what was trained")
        exported = peft_prefix(backbone, layers, "PREFIX_TUNING")
    if not exported.tensors:
        raise Unsupported("nothing was trained and nothing was read: the backbone itself scores as this does")
    return Counterpart(exported, _own_trained(backbone, exported.tensors.values()))


def _check_own_form(method: Method) -> None:
    """Unsupported for a subclass that learns or scores in a way of its own, with the form that it inherits."""
    classes = type(method).__mro__
    form, ways = (
        min(place for place, cls in enumerate(classes) if vars(cls).keys() & names)
        for names in ({"exported"}, {"attach", "fit", "scorer"})
    )
    if form > ways and classes[form] is not Method:
        raise Unsupported(
            f"{type(method).__name__} changes what {classes[form].__name__} does, and does not say its own form "
            "(Method.exported)"
        )


def read_prefix(subject: Exportable) -> tuple[KeysValues, ...]:
    """The keys and values of the demonstrations that every query follows; none without any.

    Unsupported for several prefixes, for one that not all queries can follow, and where nothing caches it.
    """
    prefixes = subject.prompts.prefixes
    if not prefixes:
        return ()
    if len(prefixes) > 1:
        raise Unsupported(f"a prefix is one prompt, and every query follows {len(prefixes)}; run it with one")
    (prefix,) = prefixes
    total = len(prefix.demonstrations.texts)
    if prefix.n_kept < total:
        raise Unsupported(
            f"a prefix is the same for every query, and at most {prefix.n_kept} of {total} demonstrations leave room "
            f"for one; run it with at most {prefix.n_kept}"
        )
    layers: tuple[KeysValues, ...] = getattr(prefix, "layers", ())
    if not layers:
        raise Unsupported("this model reads demonstrations again with every query, so there are no keys and values")
    return layers


def _own_trained(backbone: Backbone, exported: Collection[Tensor]) -> dict[str, Tensor]:
    """The trained parameters that are neither inserted nor the head's nor the lead's, nor exported already."""
    model = backbone.model
    added: list[nn.Module] = [plug for host in model.modules() for _, plug in plugged(host)]
    added += [module for module in (backbone.head, getattr(model, "lead", None)) if module is not None]
    inserted = {id(parameter) for module in added for parameter in module.parameters()}
    known = set(map(storage_key, exported))
    return {
        name: value
        for name, value in backbone.trainable().items()
        if id(value) not in inserted and storage_key(value) not in known
    }


def outputs(subject: Exportable) -> Tensor:
    """The fitted model's own logits of the rows of `sample`, after the lead or the demonstrations of a decoder.

    Those after demonstrations or a lead are (rows, tokens - 1, vocabulary): without the last token's.
    """
    backbone, layers = subject.backbone, read_prefix(subject)
    if not isinstance(backbone, Decoder) or not (backbone.led or layers):
        return logits(backbone)
    rows = random_inputs(backbone.model)["input_ids"].tolist()
    before = int(layers[0][0].shape[2]) if layers else 0
    packed = pack([row[:1] for row in rows], [[row[1:]] for row in rows], backbone.led + before)
    with torch.inference_mode():
        led = backbone.make_lead() if backbone.led else NO_LEAD
        states = backbone.packed_states(packed, list(layers), led)
        return backbone.logits_of(states)[packed.predicts[:, 0]]


def write_sample(subject: Exportable, folder: Path) -> None:
    """Random rows and the fitted model's outputs for them, with which anyone can check what they have loaded."""
    backbone = subject.backbone
    tensors = {**sample(backbone), "logits": outputs(subject)}
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / SAMPLE_NAME)


def write_head(backbone: Encoder, folder: Path) -> str:
    """The head beside an adapter whose library has no place for it; returns a note about it."""
    dense = None if backbone.head.dense is None else type(backbone.head.activation).__name__
    about = {"reads": backbone.pooling, **({} if dense is None else {"activation": dense})}
    save_file(
        {name: value.detach().contiguous() for name, value in backbone.head.named_parameters()},
        folder / HEAD_NAME,
        about,
    )
    return f"the head reads {POOLED[backbone.pooling]} and stands beside it in {HEAD_NAME}"


def base_name(fitted: Fitted) -> str:
    """The name under which other libraries find the backbone: its folder, or its name on the Hub."""
    name = fitted.manifest.backbone
    if name == "minilm":
        return locate.MINILM_HUB
    return str(fitted.backbone.model.config.name_or_path) if name in locate.known_backbones() else name


def write_json(content: object, path: Path) -> None:
    """A file with a value as JSON."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
