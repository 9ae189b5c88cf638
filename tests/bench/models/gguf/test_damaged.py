"""GGUF files that are damaged, hostile, or of a kind that is not read: one paragraph, and nothing is written."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from tests.bench.models.gguf.files import stored, tensors_of, write, write_model
from tunefront.bench.errors import UserError
from tunefront.bench.models.gguf.convert import Conversion
from tunefront.bench.models.gguf.reading import GGUF
from tunefront.bench.models.locate import locate

HUGE = 2**62


def convert(content: bytes, folder: Path) -> None:
    """Everything that is done with a file, in memory; what is written goes into a new folder."""
    conversion = Conversion(GGUF(io.BytesIO(content), "it"), "0" * 64, len(content))
    folder.mkdir()
    conversion.write(folder)


@pytest.fixture(scope="module")
def content(llama_gguf: Path) -> bytes:
    return llama_gguf.read_bytes()


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(content: bytes, tmp_path: Path) -> None:
    generator = random.Random(0)
    for size in [0, 3, 4, 8, 20, len(content) - 1, *(generator.randrange(len(content)) for _ in range(200))]:
        with pytest.raises(UserError, match=r"is cut off|not a GGUF file") as raised:
            convert(content[:size], tmp_path / str(size))
        assert "\n" not in str(raised.value)


def test_changed_bytes_lead_to_a_model_or_to_an_error_of_the_user_s(content: bytes, tmp_path: Path) -> None:
    """Of the header, where every length stands; the sum of what is read stays within the file."""
    generator, header = random.Random(0), content.index(b"blk.0.attn_norm.weight")
    for trial in range(150):
        changed = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            changed[generator.randrange(4, header)] = generator.choice((0, 1, 127, 255, generator.randrange(256)))
        with contextlib.suppress(UserError):
            convert(bytes(changed), tmp_path / str(trial))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (struct.pack("<4sIQQ", b"GGUF", 3, HUGE, 0), "the length of 'tensors' is"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, HUGE), "the length of 'entries of metadata' is"),
        (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, HUGE) + bytes(99), "the length of .* is"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 0, HUGE) + bytes(99), "the length of 'a' is 4,6"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 8, HUGE) + bytes(99), "the length of 'a' is 4,6"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 9, 1) + bytes(99), "of the type 9, which is not"),
        (struct.pack("<4sIQQQ1sI", b"GGUF", 3, 0, 1, 1, b"a", 99) + bytes(99), "'a' in its metadata is of the type 99"),
        (struct.pack("<4sIQQQ1sI", b"GGUF", 3, 0, 1, 1, b"\xff", 0) + bytes(99), "is not UTF-8"),
        (struct.pack("<4sIQQQ1sI", b"GGUF", 3, 1, 0, 1, b"a", HUGE % 2**32 + 9) + bytes(99), "has 9 dimensions"),
        (struct.pack("<4sI", b"GGUF", 1) + bytes(99), "version 1 of the format"),
        (struct.pack(">4sI", b"GGUF", 3) + bytes(99), "big-endian"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html>" + bytes(99), "not a GGUF file"),
        (b"", "not a GGUF file"),
    ],
)
def test_a_header_that_cannot_be_right_is_refused(header: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        GGUF(io.BytesIO(header), "it")


def with_tensor(shape: tuple[int, ...], kind: int, offset: int, data: int = 0) -> bytes:
    """A file with a header for one tensor, and `data` bytes after it."""
    described = struct.pack(f"<Q1sI{len(shape)}QIQ", 1, b"t", len(shape), *shape, kind, offset)
    header = struct.pack("<4sIQQ", b"GGUF", 3, 1, 0) + described
    return header + bytes(-len(header) % 32 + data)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (with_tensor((HUGE, HUGE), 0, 0), "is cut off"),
        (with_tensor((4,), 0, HUGE, 64), "is cut off"),
        (with_tensor((4,), 0, 2**64 - 16, 64), "is cut off"),
        (with_tensor((4, 0), 0, 0, 64), r"has the shape \(0, 4\)"),
        (with_tensor((31,), 2, 0, 64), r"of Q4_0 has the shape \(31,\)"),
        (with_tensor((4,), 9999, 0, 64), r"the quantisation number 9999, .*Supported: F32, F16, .*Q4_K"),
        (with_tensor((256,), 24, 0, 999), "the quantisation I8, which the package gguf cannot undo"),
    ],
)
def test_a_tensor_that_is_not_in_the_file_or_not_known_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        GGUF(io.BytesIO(content), "it")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"llama.block_count": None}, "has no llama.block_count; it must be a whole number"),
        ({"llama.block_count": "two"}, "has an invalid llama.block_count; it must be a whole number"),
        ({"llama.block_count": 3}, "lack .* tensors of LlamaForCausalLM, model.layers.2"),
        ({"llama.block_count": 10**6}, "num_hidden_layers is 1,000,000, and must be"),
        ({"llama.embedding_length": 64}, "of another shape|heads of"),
        ({"llama.attention.head_count": 0}, "head_count; it must be at least 1"),
        ({"llama.attention.head_count_kv": [1, 2]}, "blocks of different llama.attention.head_count_kv"),
        ({"llama.attention.head_count": 3}, "no multiple of 2 × 3 heads"),
        ({"llama.rope.dimension_count": 8}, "heads of 16 numbers and llama.rope.dimension_count of 8"),
        ({"llama.rope.freq_base": 0.0}, "freq_base; it must be a number above 1"),
        ({"llama.rope.scaling.type": "yarn"}, "scales position embeddings by 'yarn'"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "epsilon; it must be a number"),
        ({"split.count": 3}, "one of 3 files of a model that was split; join them with"),
        ({"general.alignment": 24}, "must be a power of two"),
    ],
)
def test_metadata_of_no_model_is_refused(
    entries: dict[str, Any], said: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    path = write_model(tmp_path / "model.gguf", Path(language_models["llama"]), entries=entries)
    with pytest.raises(UserError, match=said):
        locate(str(path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("blk.0.ffn_gate_exps.weight", "'blk.0.ffn_gate_exps.weight', which LlamaForCausalLM does not have"),
        ("blk.0.attn_q.scale", "'blk.0.attn_q.scale', which LlamaForCausalLM does not have"),
        ("rope_freqs.weight", "in another way than Llama 3"),
        ("blk.9.attn_q.weight", r"model\.layers\.9\.self_attn\.q_proj\.weight"),
    ],
)
def test_tensors_of_another_model_are_refused(
    name: str, said: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    extra = [(name, np.full((32, 32), 3.0, np.float32), Kind.F32)]
    path = write_model(tmp_path / "model.gguf", Path(language_models["llama"]), extra=extra)
    with pytest.raises(UserError, match=said):
        locate(str(path))


def test_an_unknown_architecture_is_told_those_that_are_read(tmp_path: Path) -> None:
    values = np.zeros((4, 4), np.float32)
    path = write(tmp_path / "model.gguf", "gemma3", {}, [("token_embd.weight", values, Kind.F32)])
    with pytest.raises(
        UserError, match=r"of the architecture 'gemma3'; supported are llama, qwen2, qwen3, gpt2.*Give the original"
    ):
        locate(str(path))


def test_a_weight_that_is_not_finite_is_found_before_a_run(language_models: dict[str, str], tmp_path: Path) -> None:
    import json

    from tunefront.bench.models.config import check_backbone

    folder = Path(language_models["llama"])
    tensors = tensors_of(folder, json.loads((folder / "config.json").read_text()), Kind.F32)
    name, values, kind = tensors[0]
    broken = [(name, np.full_like(values, np.nan), kind), *tensors[1:]]
    whole = write_model(tmp_path / "whole.gguf", folder)
    with whole.open("rb") as file:
        held = GGUF(file, "it").metadata
    entries = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in held.items()}
    path = write(tmp_path / "model.gguf", "llama", entries, broken)
    with pytest.raises(UserError, match=r"not all finite.*lm_head"):
        check_backbone(str(path))


@pytest.mark.parametrize("kind", ["pipe", "loop", "folder"])
def test_what_is_no_file_is_refused_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    {"pipe": os.mkfifo, "loop": lambda path: os.symlink(path, path), "folder": os.mkdir}[kind](path)
    with pytest.raises(UserError):
        locate(str(path))


def test_random_blocks_of_a_k_quant_hold_finite_numbers() -> None:
    """What takes the place of quantised weights in these tests."""
    from gguf import dequantize

    for kind in (Kind.Q2_K, Kind.Q3_K, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K):
        values = dequantize(stored(np.zeros((8, 256), np.float32), kind), kind)
        assert np.isfinite(values).all()
        assert len(np.unique(values)) > 8
