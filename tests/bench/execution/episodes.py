"""Tiny language models, trained for seconds on few-shot prompts, with scores above chance."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunefront.bench.models.tiny import make_language_model

KEYS = ("good", "great", "fine", "bad", "awful", "poor")
ANSWERS = ("yes", "no")
DEMONSTRATIONS = 6

_CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "initializer_range": 0.1,
        "attention_dropout": 0.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 4.0},  # distinguishes neighbouring tokens early
    },
    "t5": {"d_model": 64, "d_kv": 32, "d_ff": 128, "dropout_rate": 0.0},
}


def episode(generator: random.Random) -> tuple[str, str]:
    """A prompt of demonstrations and a query, and its answer: two words mean yes and no, or no and yes, in this
    episode only."""
    meaning = dict(zip(generator.sample(KEYS, 2), generator.sample(ANSWERS, 2), strict=True))
    demonstrations = [*meaning, *(generator.choice(list(meaning)) for _ in range(DEMONSTRATIONS - 2))]
    generator.shuffle(demonstrations)
    query = generator.choice(demonstrations)
    return "\n\n".join([*(f"{word} {meaning[word]}" for word in demonstrations), query]), meaning[query]


def pretrained_on_episodes(folder: Path, name: str, steps: int, batch: int = 64, seed: int = 0) -> Path:
    """Saves a model that has learned to copy the answer of the demonstration that is like the query."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    torch.set_num_threads(1)
    make_language_model(folder, name, seed, **_CONFIGS[name])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if name == "t5":
        _as_published(tokenizer, folder)
    model = (AutoModelForSeq2SeqLM if name == "t5" else AutoModelForCausalLM).from_pretrained(folder)
    if name == "t5":
        _look_back(model)
    generator = random.Random(seed)
    episodes = [episode(generator) for _ in range(steps * batch)]
    prompts, answers = zip(*episodes, strict=True)
    inputs, labels = (_seq2seq if name == "t5" else _decoder)(tokenizer, prompts, answers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 30, 1.05 - s / steps))
    model.train()
    for ids, targets in zip(inputs.split(batch), labels.split(batch), strict=True):
        loss = model(input_ids=ids, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    model.save_pretrained(folder)
    return folder


def _decoder(tokenizer: Any, prompts: tuple[str, ...], answers: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Complete texts; the labels are the answers that an earlier demonstration gave."""
    texts = [f"{prompt} {answer}" for prompt, answer in zip(prompts, answers, strict=True)]
    ids = torch.tensor(tokenizer(texts)["input_ids"])
    known = torch.tensor([tokenizer(f"a {answer}", add_special_tokens=False)["input_ids"][-1] for answer in ANSWERS])
    labels = torch.where(torch.isin(ids, known), ids, -100)
    word = ids.roll(1, 1)
    seen = ((word[:, :, None] == word[:, None, :]) & (labels != -100)[:, None, :]).tril(-1).any(2)
    return ids, torch.where(seen, labels, -100)


def _seq2seq(tokenizer: Any, prompts: tuple[str, ...], answers: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Prompts for the encoder, and answers with their end for the decoder."""
    return torch.tensor(tokenizer(list(prompts))["input_ids"]), torch.tensor(tokenizer(list(answers))["input_ids"])


def _as_published(tokenizer: Any, folder: Path) -> None:
    """T5's own tokenizer reads a newline as a space."""
    from tokenizers import Regex, normalizers

    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.save_pretrained(folder)


def _look_back(model: Any) -> None:
    """Initialises an encoder head to attend to the previous token, which training would take minutes to learn."""
    attention = model.encoder.block[0].layer[0].SelfAttention
    width = attention.key_value_proj_dim
    with torch.no_grad():
        attention.relative_attention_bias.weight[1, 0] = 8.0
        attention.q.weight[:width] *= 0.05
        attention.v.weight[:width] *= 3.0
