"""An adapter in the format of Hugging Face peft: `PeftModel.from_pretrained(base, folder)` loads it."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tunefront.bench.checkpoints.exports.form import Exportable
from tunefront.bench.checkpoints.exports.heads import HeadNames, close, head_names
from tunefront.bench.checkpoints.exports.library import (
    base_name,
    counterpart,
    outputs,
    read_prefix,
    write_head,
)
from tunefront.bench.checkpoints.exports.merged import sample
from tunefront.bench.checkpoints.exports.tensors import write_manifest
from tunefront.bench.errors import UserError
from tunefront.bench.models.families.encoder import Encoder
from tunefront.bench.models.fit import auto_class
from tunefront.bench.models.pooling import pooled_states
from tunefront.bench.models.scoring.tokens import BETWEEN
from tunefront.bench.quiet import quiet
from tunefront.methods.base import Unsupported
from tunefront.methods.counterparts import PROMPT

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.checkpoints.loading import Fitted
    from tunefront.bench.checkpoints.stored import StoredCheckpoint
    from tunefront.bench.models.families import Backbone

WEIGHTS_NAME = "adapter_model.safetensors"
"""The name of peft's file of tensors."""
_TASKS = {"decoder": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}
_REGEXES = ("target_modules", "feedforward_modules")
"""Fields of peft's configurations that match whole paths of modules."""


@dataclass(frozen=True)
class Adapter:
    """peft's configuration and tensors of a fitted method; `head` says where its head went, None if it has no place in
    peft's model."""

    config: Mapping[str, object]
    tensors: Mapping[str, Tensor]
    head: HeadNames | None

    @classmethod
    def of(cls, subject: Exportable) -> Adapter:
        """The adapter of a fitted method. Unsupported, with the reason, if peft computes nothing that is the same."""
        backbone, form = subject.backbone, counterpart(subject, "peft")
        if isinstance(backbone, Encoder) and backbone.led and _tells_pairs_apart(backbone):
            raise Unsupported(
                "peft drops token_type_ids where it puts a prompt or keys and values before a text, and rows here are "
                "pairs of texts, which these tell apart"
            )
        head = _head(backbone) if isinstance(backbone, Encoder) else None
        inside, saved = "" if head is None else f"{head.prefix}.", _saved_modules(backbone, form.also, head)
        prompt = form.exported.tensors.get(PROMPT)
        config: dict[str, object] = {
            "task_type": _TASKS.get(backbone.sites.family) or ("FEATURE_EXTRACTION" if head is None else "SEQ_CLS"),
            "modules_to_save": sorted(saved) or None,
            "inference_mode": True,
            **form.exported.config,
        }
        for field in _REGEXES:
            if inside and field in config:
                config[field] = f"{re.escape(inside)}(?:{config[field]})"
        place = "base_model.model." if prompt is None else "base_model."  # a prompt is outside of the model
        tensors = {f"{place}{path}.{name}": value for path, own in saved.items() for name, value in own.items()}
        if prompt is not None:
            return cls(config, {PROMPT: prompt, **tensors}, head)
        inserted = {f"{place}{inside}{name}": value for name, value in form.exported.tensors.items()}
        return cls(config, inserted | tensors, head)


def _tells_pairs_apart(backbone: Encoder) -> bool:
    return backbone.reads_pairs and "token_type_ids" in backbone.tokenizer.model_input_names


def _saved_modules(
    backbone: Backbone, also: Mapping[str, Tensor], head: HeadNames | None
) -> dict[str, dict[str, Tensor]]:
    """The modules of peft's base that it replaces by trained ones, each with all of its parameters: those of the
    backbone itself, and the head's."""
    inside = "" if head is None else f"{head.prefix}."
    saved: dict[str, dict[str, Tensor]] = {
        f"{inside}{path}": dict(backbone.model.get_submodule(path).named_parameters(recurse=False))
        for path in {name.rpartition(".")[0] for name in also}
    }
    for name, ours in ({} if head is None else head.names).items():
        # Outside the base model the whole child: peft replaces those named `classifier` or `score` in any case.
        path = name.rpartition(".")[0] if name.startswith(inside) else name.partition(".")[0]
        saved.setdefault(path, {})[name.removeprefix(f"{path}.")] = backbone.model.get_parameter(ours)
    return saved


def _head(backbone: Encoder) -> HeadNames | None:
    """Where the head goes in transformers' class, whose other modules peft wraps; None if there is no such class."""
    try:
        return head_names(backbone)
    except Unsupported:
        return None


class PeftAdapter:
    """peft's `adapter_config.json` and `adapter_model.safetensors`, and the manifest."""

    about = "an adapter of Hugging Face peft"

    def check(self, subject: Exportable) -> None:
        """Unsupported for what peft cannot express exactly. peft need not be installed."""
        Adapter.of(subject)

    def write(self, fitted: Fitted, stored: StoredCheckpoint, folder: Path) -> list[str]:
        """Writes the adapter, loads it with peft onto the backbone and compares logits. UserError without peft."""
        if importlib.util.find_spec("peft") is None:
            raise UserError(
                "what was written is loaded with peft and compared, and peft is not installed: pip install "
                "'tunefront[peft]', or export the tensors with --to safetensors."
            )
        subject = Exportable.of(fitted)
        adapter, backbone = Adapter.of(subject), fitted.backbone
        with quiet(), warnings.catch_warnings(action="ignore"):
            _save(adapter, base_name(fitted), folder)
            expected, got = outputs(subject), _loaded_outputs(adapter, backbone, folder)
        if not isinstance(backbone, Encoder):  # a prompt of peft has logits too, and the last token's are not needed
            tokens = sample(backbone)["input_ids"].shape[1]
            got = got[:, -tokens:][:, : expected.shape[1]]
        difference = float((got - expected).abs().max())
        if not close(got, expected):
            raise UserError(
                f"peft computes other logits (by up to {difference:.2g}) with what was written; nothing was exported. "
                "Please report this, with the checkpoint's manifest."
            )
        notes = [f"loads on {_base_class(adapter, backbone).__name__}; logits differ by at most {difference:.1e}"]
        if isinstance(backbone, Encoder):
            notes.append(write_head(backbone, folder) if adapter.head is None else _about_head(backbone))
        elif read_prefix(subject):
            notes.append(
                f"a query follows the demonstrations: {BETWEEN!r} and its prompt, without special tokens; one without "
                "room after all of them had fewer in the suite"
            )
        write_manifest(fitted, stored, folder)
        return notes


def _about_head(backbone: Encoder) -> str:
    return f"its head is in the adapter: load the model with num_labels={backbone.outputs}"


def _save(adapter: Adapter, base: str, folder: Path) -> None:
    """The files, as peft's own `save_pretrained` names them."""
    import peft

    made = peft.get_peft_config({**adapter.config, "base_model_name_or_path": base})
    made.save_pretrained(str(folder))
    # Copies, because tensors of a file share no memory, and those of some types do.
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in adapter.tensors.items()}
    save_file(tensors, folder / WEIGHTS_NAME, {"format": "pt"})


def _base_class(adapter: Adapter, backbone: Backbone) -> Any:  # Any: as `auto_class`
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification if adapter.head else auto_class(backbone.sites.family)


def _loaded_outputs(adapter: Adapter, backbone: Backbone, folder: Path) -> Tensor:
    """The logits of the rows of `sample` by the published backbone with the adapter, both read from their files."""
    import peft

    labels = {"num_labels": backbone.outputs} if adapter.head and isinstance(backbone, Encoder) else {}
    base = _base_class(adapter, backbone).from_pretrained(
        backbone.model.config.name_or_path, dtype=torch.float32, local_files_only=True, **labels
    )
    model = peft.PeftModel.from_pretrained(base, str(folder)).eval()
    loaded = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    if loaded.keys() != adapter.tensors.keys():
        odd = min(loaded.keys() ^ adapter.tensors.keys())
        raise UserError(f"peft has other tensors than were written ({odd} first); nothing was exported.")
    with torch.inference_mode():
        output = model(**sample(backbone))
        if isinstance(backbone, Encoder) and adapter.head is None:
            return backbone.head(pooled_states(output, backbone.pooling))
        return output.logits
