"""Loads exported adapters with AdapterHub's own library, run by the Python of its environment: it imports nothing from
this suite.

Arguments: pairs of a base model's folder and an exported folder. It prints one JSON object per pair: the largest
difference of the logits from those of the sample, their largest value, how far the base model without the adapter is
from them, and what was not loaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import adapters
import torch
import transformers
from safetensors.torch import load_file

NAME = "tunefront"


def checked(base: str, folder: str) -> dict[str, object]:
    """The comparison of one exported folder."""
    sample = load_file(Path(folder, "sample.safetensors"))
    expected = sample.pop("logits")
    kind = json.loads(Path(folder, "adapter_config.json").read_text())["model_class"]
    if kind.endswith("AdapterModel"):
        model = getattr(adapters, kind).from_pretrained(base)
    else:
        model = getattr(transformers, kind).from_pretrained(base)
        adapters.init(model)
    info: dict[str, object] = {}
    has_head = Path(folder, "head_config.json").is_file()
    model.load_adapter(folder, use_safetensors=True, set_active=True, with_head=has_head, loading_info=info)
    model.eval()
    with torch.inference_mode():
        got = outputs(model, sample, folder)
        model.set_active_adapters(None)
        if has_head:
            model.active_head = NAME
        without = outputs(model, sample, folder)
    return {
        "difference": float((got - expected).abs().max()),
        "scale": float(expected.abs().max()),
        "effect": float((without - expected).abs().max()),
        "loading": info,
    }


def outputs(model, sample, folder):
    """The logits of a model; with a head beside the adapter, on the mean of the states."""
    beside = Path(folder, "head.safetensors")
    if not beside.is_file():
        return model(**sample).logits
    head = load_file(beside)
    pooled = model(**sample).last_hidden_state.mean(1)
    return torch.nn.functional.linear(pooled, head["output.weight"], head["output.bias"])


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    arguments = sys.argv[1:]
    for base, folder in zip(arguments[::2], arguments[1::2], strict=True):
        print(json.dumps(checked(base, folder)), flush=True)


if __name__ == "__main__":
    main()
