"""An architecture without a record of sites runs what needs none, as plain transformers does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from tests.bench.models.others import OTHERS, encoder_decoder
from tests.bench.models.scoring.plain import plain_scores
from tests.toys import Listed, encode, fit_without_steps, fresh_copy, harness, loaded, mixed_task, shipped, toy_task
from tunefront import run
from tunefront.bench.models.config import block_count, check_backbone, sites_fingerprint
from tunefront.bench.models.pooling import found_pooling
from tunefront.bench.models.tiny import make_backbone, unigram_tokenizer
from tunefront.methods.base import Unsupported
from tunefront.methods.icl import ICL
from tunefront.methods.peft import Peft

ENCODERS = [name for name, (family, _) in OTHERS.items() if family == "encoder"]
LANGUAGE = [name for name, (family, _) in OTHERS.items() if family != "encoder"]
NEEDS_NONE = ("full", "features", "knn", "peft", "fish", "said")
"""Methods that run on every model; `icl` on every language model."""


@pytest.mark.parametrize("name", OTHERS)
def test_what_needs_no_site_runs_and_the_rest_says_how_to_get_one(name: str, others: dict[str, str]) -> None:
    check_backbone(others[name])
    task = toy_task()
    refused: dict[str, str] = {}
    for method in shipped():
        backbone = fresh_copy(others[name], task)
        try:
            method.attach(backbone)
            fit_without_steps(method, backbone, encode(backbone, task))
        except Unsupported as reason:
            refused[method.name] = str(reason)
    assert not refused.keys() & {*NEEDS_NONE, *(["icl"] if name in LANGUAGE else [])}
    without = {method for method, reason in refused.items() if "no record of sites" in reason}
    assert {"houlsby", "ia3", "lora", "layernorm", "top_layers", "scaling", "pfeiffer"} <= without


def test_a_run_records_what_the_head_reads(others: dict[str, str], toy_folder: str, tmp_path: Path) -> None:
    records = run(
        methods=["features", "full", "ia3"], backbones=[others["ernie"], others["stablelm"]], tasks=[toy_folder],
        shots=[8], seeds=[0], settings={"steps": 1}, out=tmp_path / "out",
    )  # fmt: skip
    by_status = {(Path(record.backbone).name, record.method.split(":")[0]): record for record in records}
    assert {key for key, record in by_status.items() if record.status == "skipped"} == {
        ("ernie", "ia3"), ("stablelm", "ia3")
    }  # fmt: skip
    assert {record.model.pooling for record in records if record.status == "ok"} == {"pooler", None}
    flops = by_status[("ernie", "full")].flops.phases
    assert flops is not None
    assert flops["forward"].counted
    assert flops["forward"].analytic is None


@pytest.mark.parametrize("name", ENCODERS)
def test_pooled_states_are_those_of_plain_transformers(name: str, others: dict[str, str]) -> None:
    """Row by row, without padding."""
    task, folder = toy_task(), others[name]
    backbone: Any = fresh_copy(folder, task)
    backbone.model.eval()
    plain, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        states = backbone.features(encode(backbone, task).batch(range(16)))
        for row, ours in zip(task.splits["train"], states, strict=False):
            output = plain(**tokenizer(row.fields["text"], return_tensors="pt"))
            theirs = output.pooler_output if loaded(folder).pooling == "pooler" else output.last_hidden_state[:, 0]
            assert torch.allclose(ours, theirs[0], atol=1e-5)


@pytest.mark.parametrize("k", [0, 4])
@pytest.mark.parametrize("name", LANGUAGE)
def test_scores_are_those_of_plain_transformers(name: str, k: int, others: dict[str, str]) -> None:
    task, folder = mixed_task(), others[name]
    backbone = fresh_copy(folder, task, template=Listed())
    method = ICL(k=k)
    method.attach(backbone)
    trainer = harness(backbone, method, rows=4)
    examples, rows = encode(backbone, task), encode(backbone, task, "test")
    scores = trainer.score(method.fit(backbone, examples.take(range(k)), trainer), rows).values
    auto = AutoModelForSeq2SeqLM if OTHERS[name][0] == "seq2seq" else AutoModelForCausalLM
    plain = auto.from_pretrained(folder)
    expected = plain_scores(plain, backbone.tokenizer, rows.prompts, examples.prompts[:k])
    finite = expected.isfinite()
    assert torch.allclose(scores[finite], expected[finite], atol=1e-5)


def test_peft_takes_every_linear_layer(others: dict[str, str]) -> None:
    backbone = fresh_copy(others["ernie"])
    linears = {path for path, module in backbone.model.named_modules() if isinstance(module, torch.nn.Linear)}
    Peft(type="LORA").attach(backbone)
    adapted = {name.partition(".lora_")[0].rpartition("model.")[2] for name in backbone.trainable() if ".lora_" in name}
    assert adapted == {path for path in linears if not path.startswith("head.")}
    backbone = fresh_copy(others["ernie"])
    Peft(type="LN_TUNING").attach(backbone)
    norms = {path for path, module in loaded(others["ernie"]).load().named_modules() if path.endswith("LayerNorm")}
    tuned = {name.partition(".ln_tuning")[0].rpartition("model.")[2] for name in backbone.trainable()}
    assert {path for path in tuned if not path.startswith("head")} == norms


def test_an_encoder_without_a_pooler_reads_the_first_token_if_all_texts_start_alike(
    others: dict[str, str], tmp_path: Path
) -> None:
    assert loaded(others["ernie"]).pooling == "pooler"
    assert loaded(others["roformer"]).pooling == "first"
    tokenizer = AutoTokenizer.from_pretrained(others["ernie"])
    assert found_pooling(False, tokenizer) == "first"
    assert found_pooling(False, None) == "first"
    assert found_pooling(False, unigram_tokenizer()) == "mean"
    assert found_pooling(True, unigram_tokenizer()) == "pooler"


def test_a_checkpoint_that_lacks_the_pooler_of_its_class_reads_the_first_token(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_backbone(tmp_path / "ernie", "ernie")
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "pooler" not in name}
    assert len(kept) == len(tensors) - 2
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert loaded(str(folder)).pooling == "first"


def test_facts_that_a_suite_asks_for(others: dict[str, str], tmp_path: Path) -> None:
    assert {block_count(others[name]) for name in (*ENCODERS, "stablelm")} == {2}
    assert block_count(others["marian"]) == 4
    assert sites_fingerprint(others["ernie"]) != sites_fingerprint(others["marian"])
    lead = fresh_copy(encoder_decoder(tmp_path / "marian", "marian"))
    with pytest.raises(Unsupported, match="positions"):
        _ = lead.stacks
