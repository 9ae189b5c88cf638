"""Tiny random backbones and an easy toy task, made in code: no network, one thread, fixed seeds."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # ignored in a shell's background; processes started here would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)

FAMILIES = ("bert", "roberta", "distilbert", "deberta-v2")
LANGUAGE_MODELS = {
    "gpt2": "decoder",
    "opt": "decoder",
    "gpt_neox": "decoder",
    "llama": "decoder",
    "mistral": "decoder",
    "qwen2": "decoder",
    "t5": "seq2seq",
    "t5-gated": "seq2seq",  # v1.1, as T0 and Flan-T5 are: gated feed-forward, separate output embeddings
    "bart": "seq2seq",
}
"""Names that `make_language_model` knows, and their families."""
WORDS = ("good", "great", "fine", "bad", "awful", "poor", "the", "a", "film", "book", "was", "is", "very", "quite")
PROMPT_WORDS = (
    *("Review:", "Question:", "Answer:", "Text:", "Is", "this", "it", "positive", "negative", "or", "and", "of"),
    *("yes", "no", "true", "false", "movie", "review", "What", "sentiment", "does", "express", "Which", "one", "two"),
)
"""Words of the templates, for the tokenizers of language models."""


MOST_WORKERS = 8
"""The most workers of `pytest -n auto`: each imports torch, which takes most of a gigabyte."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker per core that this process may use, because tests compute on one thread."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, cores)


def pytest_configure(config: pytest.Config) -> None:
    """Tests of this checkout must not run the code of another one that is installed."""
    import tunefront.bench

    if not Path(str(tunefront.bench.__file__)).is_relative_to(ROOT):
        raise pytest.UsageError(
            f"these are the tests of {ROOT}, but `import tunefront.bench` gives {tunefront.bench.__file__}: install "
            "this checkout (pip install -e .), or run `python -m pytest` in its folder."
        )


@pytest.fixture(autouse=True)
def no_bare_names() -> Iterator[None]:
    """The packages have one import name each: under a second one every class in them would exist twice."""
    yield
    bare = [name for name in sys.modules if name.split(".")[0] in ("bench", "methods", "reports")]
    assert not bare, f"{', '.join(bare)}: import tunefront.{bare[0]}"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny models are fastest on one thread; `TUNEFRONT_TEST_THREADS=2` shows that no test depends on one thread."""
    import torch

    torch.set_num_threads(int(os.environ.get("TUNEFRONT_TEST_THREADS", "1")))


@pytest.fixture(autouse=True)
def own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test takes FLOPs that another has counted, maybe of a model that differs in what the toys' names leave out."""
    if (counted := sys.modules.get("tunefront.bench.meters.flops.counted")) is not None:
        monkeypatch.setattr(counted.FlopMeter, "_known", {})
    if (extrapolate := sys.modules.get("tunefront.bench.meters.flops.extrapolate")) is not None:
        monkeypatch.setattr(extrapolate.Counting, "_forward_halves", {})


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests prepare nothing in the checkout's cache."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def fetched_folder() -> Path | None:
    """Where this machine has fetched archives, if it has; known before any test has a cache of its own."""
    from tunefront.bench.data.cache import folder

    return next((path for path in [folder("archives")] if path.is_dir()), None)


@pytest.fixture
def fetched(own_cache: None, fetched_folder: Path | None) -> Callable[[str], None]:
    """Gives the test what this machine has fetched of an archive, or skips it."""

    def given(name: str) -> None:
        from tunefront.bench.data.archives.cached import is_fetched, path_of
        from tunefront.bench.data.archives.catalog import ARCHIVES

        archive = ARCHIVES[name]
        path = path_of(archive)
        if fetched_folder is not None and not path.exists() and (fetched_folder / archive.filename).is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(fetched_folder / archive.filename)
        if not is_fetched(archive):
            pytest.skip(f"not fetched on this machine: tunefront fetch {name}")

    return given


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a tiny random model and tokenizer for each encoder architecture."""
    root = tmp_path_factory.mktemp("backbones")
    return {family: str(make_backbone(root / family, family)) for family in FAMILIES}


@pytest.fixture(scope="session")
def language_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a tiny random language model and tokenizer for each name in `LANGUAGE_MODELS`."""
    root = tmp_path_factory.mktemp("language_models")
    return {name: str(make_language_model(root / name, name)) for name in LANGUAGE_MODELS}


@pytest.fixture(scope="session")
def folders(backbones: dict[str, str], language_models: dict[str, str]) -> dict[str, str]:
    """A folder for each tiny backbone, encoder or language model."""
    return backbones | language_models


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


def make_language_model(folder: Path, name: str, seed: int = 0, **config: Any) -> Path:
    """Saves a random language model of two layers a stack and width 32, `config` apart, with its kind of tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    tokenizer = unigram_tokenizer() if name.startswith("t5") else byte_level_tokenizer(name)
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **_SIZES[name],
    }
    auto = AutoModelForCausalLM if LANGUAGE_MODELS[name] == "decoder" else AutoModelForSeq2SeqLM
    torch.manual_seed(seed)
    model = auto.from_config(AutoConfig.for_model(name.removesuffix("-gated"), **(size | config)))
    if name == "t5-gated":  # transformers ties every T5 that it builds from a configuration, v1.1 too
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_DEPTH = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 256, "hidden_size": 32}
_ROTARY = {**_DEPTH, "intermediate_size": 64, "initializer_range": 0.2, "attention_dropout": 0.1}
_T5 = {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_kv": 16, "d_ff": 64, "decoder_start_token_id": 0}
_SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 64, "n_positions": 256, "initializer_range": 0.2},
    "opt": {**_DEPTH, "ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.2, "attention_dropout": 0.1},
    "gpt_neox": {**_ROTARY, "hidden_dropout": 0.1},
    "llama": _ROTARY,
    "mistral": {**_ROTARY, "num_key_value_heads": 2},
    "qwen2": {**_ROTARY, "num_key_value_heads": 1},
    "t5": _T5,
    "t5-gated": {**_T5, "d_kv": 12, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "bart": {
        "d_model": 32,
        "max_position_embeddings": 256,
        "init_std": 0.2,
        "decoder_start_token_id": 2,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 64,
        "attention_dropout": 0.1,
        "activation_dropout": 0.1,
    },
}
"""Changes to the default configurations, by name."""
_SPECIAL = {
    "llama": {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"},
    "qwen2": {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
    "bart": {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
}
"""Special tokens in the order of their ids, if they are not only <pad> and </s>."""
_AROUND = {"llama": "<s> $A", "bart": "<s> $A </s>"}
"""The special tokens that byte-level tokenizers put around a text."""


def byte_level_tokenizer(name: str) -> Any:
    """GPT-2's kind of tokenizer, every word of `WORDS` and `PROMPT_WORDS` one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = _SPECIAL.get(name, {"pad_token": "<pad>", "eos_token": "</s>"})
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=list(special.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        vocab_size=1000,  # more than the possible merges
        show_progress=False,
    )
    pieces.train_from_iterator((f"{word} {word}" for word in (*WORDS, *PROMPT_WORDS)), trainer)
    if name in _AROUND:
        ids = [(token, pieces.token_to_id(token)) for token in special.values()]
        pieces.post_processor = processors.TemplateProcessing(single=_AROUND[name], special_tokens=ids)
    return fast_tokenizer(pieces, special)


def unigram_tokenizer() -> Any:
    """T5's kind of tokenizer: pieces that start with the space before them, and </s> after a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    words = dict.fromkeys(f"▁{word}" for word in (*WORDS, *PROMPT_WORDS))
    letters = [chr(code) for code in range(33, 127)]
    scores = dict.fromkeys(special.values(), 0.0) | dict.fromkeys(words, -4.0) | dict.fromkeys(["▁", *letters], -9.0)
    pieces = Tokenizer(models.Unigram(list(scores.items()), unk_id=2))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    pieces.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return fast_tokenizer(pieces, special)


def fast_tokenizer(pieces: Any, special: dict[str, str]) -> Any:
    from transformers import PreTrainedTokenizerFast

    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=256, model_input_names=names, **special)


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
