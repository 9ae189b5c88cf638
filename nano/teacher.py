"""MiniLM's sentence embeddings of the snippets, the targets of distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from tunefront.bench.models.locate import locate

WIDTH = 384
_LONGEST = 64
_BATCH = 256


@torch.inference_mode()
def embed(texts: Sequence[str]) -> Tensor:
    """The normalised masked mean of MiniLM's last states: (texts, 384), float16.

    Source: Reimers and Gurevych 2019 (the pooling); the model is `minilm` of this project.
    """
    folder = locate("minilm")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    embedded = torch.zeros(len(texts), WIDTH, dtype=torch.float16)
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        batch = tokenizer(
            [texts[row] for row in rows], truncation=True, max_length=_LONGEST, padding=True, return_tensors="pt"
        )
        with torch.autocast("cpu", torch.bfloat16):
            states = model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"].unsqueeze(-1)
        embedded[rows] = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).half()
    return embedded
