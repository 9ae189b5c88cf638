"""The common models and tasks: a random model, its tokenizer and two tasks made from the docstrings of the standard
library, and a real model with a real task, which have to be fetched."""

from __future__ import annotations

import hashlib
import re
import sysconfig
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tunefront.bench.data.sources import load_task
from tunefront.bench.data.sources.candidates import summarise
from tunefront.bench.data.sources.harvest import code_docstrings
from tunefront.bench.data.task import Kind, MetricSpec, Row, Task
from tunefront.bench.models.locate import locate

SIZE = {"n_embd": 512, "n_layer": 8, "n_head": 8, "n_positions": 4096, "initializer_range": 0.05}
"""A GPT-2 with 25 million parameters in its blocks and initial weights large enough for answers to differ."""
VOCABULARY = 4096
"""Small compared to the blocks, so that ratios reflect them and not logits, which one side computes for all tokens."""
WORDS = range(12, 25)
"""Words of a text, as in a typical sentence task: 15 to 40 tokens with the question."""
ENDING = 3
"""Words of an answer that is the end of a sentence."""
SHOTS = 32


@cache
def sentences() -> tuple[tuple[str, str], ...]:
    """(kind of object, first sentence of its docstring) pairs, each sentence once, ordered by hash."""
    library, excluded = Path(sysconfig.get_paths()["stdlib"]), {"test", "tests", "idlelib", "lib2to3", "site-packages"}
    kinds: dict[str, str] = {}
    with warnings.catch_warnings(action="ignore"):  # about escapes in strings
        for file in sorted(library.rglob("*.py")):
            if not excluded & set(file.relative_to(library).parts):
                docstrings = code_docstrings(file.read_text("utf-8"), "python", file.name)
                kinds |= {summarise(docstring.text): docstring.kind for docstring in docstrings}
    plain = [text for text in kinds if re.fullmatch(r"[A-Z][A-Za-z ,.'()-]+", text) and kinds[text] != "module"]
    return tuple((kinds[text], text) for text in sorted(plain, key=lambda text: hashlib.sha256(text.encode()).digest()))


def kind_task(queries: int) -> Task:
    """Does this describe a class or a function? Either answer is one token."""
    names = ("function", "class")
    rows = [
        Row(str(index), {"text": text}, names.index(kind))
        for index, (kind, text) in enumerate(_long_enough(0)[: SHOTS + queries])
    ]
    return _task("kind", "classification", rows, names)


def ending_task(queries: int) -> Task:
    """How does this sentence end? Four answers of several tokens, three of them the ends of other sentences."""
    names = ("a", "b", "c", "d")
    cut = [text.rsplit(" ", ENDING) for _, text in _long_enough(ENDING)]
    ends = list(dict.fromkeys(" ".join(words[1:]) for words in cut))
    rows = []
    for index, (beginning, *words) in enumerate(cut[: SHOTS + queries]):
        right = ends.index(" ".join(words))
        answers = [ends[(right + other) % len(ends)] for other in range(len(names))]
        label = index % len(names)
        answers = [*answers[1 : label + 1], answers[0], *answers[label + 1 :]]
        rows.append(Row(str(index), {"text": beginning, **dict(zip(names, answers, strict=True))}, label))
    return _task("ending", "multiple choice", rows, names)


def movies_task(queries: int) -> Task:
    """Is this sentence of a film review positive? Errors: NotFetched."""
    task = load_task("sentiment/movies")
    splits = {"train": task.splits["train"][:SHOTS], "test": task.splits["test"][:queries]}
    return replace(task, name="movies", splits=splits)


def _long_enough(more: int) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in sentences() if len(text.split()) - more in WORDS]


def _task(name: str, kind: Kind, rows: list[Row], label_names: tuple[str, ...]) -> Task:
    inputs = ("text", *label_names) if kind == "multiple choice" else ("text",)
    splits = {"train": rows[:SHOTS], "test": rows[SHOTS:]}
    return Task(name, kind, splits, inputs, label_names, (MetricSpec("accuracy"),))


def make_backbone(folder: Path, **config: Any) -> Path:
    """Saves a random GPT-2, changed by `config`, with its own byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    end = "<|endoftext|>"
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator((f"Text: {text}\nLabel: {kind}\n\nAnswer:" for kind, text in sentences()), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token=end, bos_token=end, pad_token=end)
    size = {**SIZE, "vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(**(size | config))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def real_backbone() -> Path:
    """The folder of SmolLM2-135M-Instruct. Errors: NotFetched."""
    return locate("smollm2")
