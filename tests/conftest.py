"""Tiny random backbones and an easy toy task, made in code: no network, one thread, fixed seeds."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

FAMILIES = ("bert", "roberta", "distilbert", "deberta-v2")
WORDS = ("good", "great", "fine", "bad", "awful", "poor", "the", "a", "film", "book", "was", "is", "very", "quite")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny models are fastest, and sums repeatable, on one thread."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test prepares lands in the checkout's cache."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a tiny random model and tokenizer for each encoder architecture."""
    root = tmp_path_factory.mktemp("backbones")
    return {family: str(make_backbone(root / family, family)) for family in FAMILIES}


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An easy sentiment task as a `dir:` folder: 96 train, 32 validation and 40 test rows."""
    return f"dir:{make_toy(tmp_path_factory.mktemp('tasks') / 'toy')}"


def make_backbone(folder: Path, family: str, seed: int = 0, **config: Any) -> Path:
    """Saves a random two-layer model of width 32, `config` apart, with a word-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: place for place, word in enumerate((*special, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inputs = ["input_ids", "attention_mask"] + (["token_type_ids"] if family in ("bert", "deberta-v2") else [])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=inputs,
    )
    size = {"vocab_size": len(vocabulary), "pad_token_id": 0, "max_position_embeddings": 80, "initializer_range": 0.2}
    if family == "distilbert":
        size |= {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    else:
        size |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if family == "deberta-v2":
        size |= {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_buckets": 16,
            "position_biased_input": False,
            "type_vocab_size": 0,
        }
    torch.manual_seed(seed)
    AutoModel.from_config(AutoConfig.for_model(family, **(size | config))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_toy(folder: Path, seed: int = 0, rows: tuple[int, int, int] = (96, 32, 40)) -> Path:
    """Writes a task whose label is the sentiment of one word."""
    generator = random.Random(seed)
    folder.mkdir(parents=True)
    for split, count in zip(("train", "validation", "test"), rows, strict=True):
        lines = []
        for place in range(count):
            label = place % 2
            filler = [generator.choice(WORDS[6:]) for _ in range(generator.randint(2, 9))]
            filler.insert(generator.randrange(len(filler)), generator.choice(WORDS[3:6] if label else WORDS[:3]))
            lines.append(json.dumps({"text": f"{' '.join(filler)} {place}", "label": label, "idx": place}))
        folder.joinpath(f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    meta = {"task_type": "classification", "label_names": ["good", "bad"], "input_fields": ["text"]}
    meta |= {"label_field": "label", "metrics": ["accuracy", "macro_f1"]}
    folder.joinpath("meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """Forgets the methods that a test defines."""
    import gc

    yield
    gc.collect()
