"""Encoders: their scores against transformers' own classifiers, pooling by hand, tokenised rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.toys import encode, fresh_copy, loaded, toy_task
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.models.config import MOST_SPECIAL_TOKENS, check_backbone, check_length
from tunefront.bench.models.families import encoder
from tunefront.bench.models.families.encoder import Encoder
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.tiny import FAMILIES, make_backbone
from tunefront.methods.base import Batch

HEADS = {  # our head's layers -> the published classifier's
    "bert": {"head.output": "classifier"},
    "roberta": {"head.dense": "classifier.dense", "head.output": "classifier.out_proj"},
    "distilbert": {"head.dense": "pre_classifier", "head.output": "classifier"},
    "deberta-v2": {"head.dense": "pooler.dense", "head.output": "classifier"},
    "albert": {"head.output": "classifier"},
    "nomic_bert": {"head.dense": "nomic_bert.pooler.dense", "head.output": "classifier"},
    **{
        family: {"head.dense": "classifier.dense", "head.output": "classifier.out_proj"}
        for family in ("xlm-roberta", "xlm-roberta-xl", "camembert", "electra", "mpnet")
    },
}


@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize("family", HEADS)
def test_scores_equal_transformers_own_classifier(
    family: str, labels: int, backbones: dict[str, str], more_backbones: dict[str, str]
) -> None:
    task = toy_task()
    wider = Task(task.name, task.kind, task.splits, ("text",), tuple("abcde"[:labels]), task.metrics)
    backbone = fresh_copy((backbones | more_backbones)[family], wider)
    published = AutoModelForSequenceClassification.from_config(backbone.model.config, attn_implementation="eager")
    published.config.num_labels = labels
    published.num_labels = labels
    base = published.base_model_prefix
    ours = {name: value for name, value in backbone.model.state_dict().items() if not name.startswith("head.")}
    weights = {f"{base}.{name}": value for name, value in ours.items()}
    for here, there in HEADS[family].items():
        layer = backbone.model.get_submodule(here)
        parent, _, leaf = there.rpartition(".")
        setattr(published.get_submodule(parent), leaf, nn.Linear(layer.in_features, layer.out_features))
        weights |= {f"{there}.weight": layer.weight, f"{there}.bias": layer.bias}
    missing, unexpected = published.load_state_dict(weights, strict=False)
    assert [name for name in missing if "position_ids" not in name] == []
    assert unexpected == []
    batch = encode(backbone).batch(range(16))
    with torch.no_grad():
        theirs = published.eval()(**batch.inputs).logits
        assert torch.allclose(backbone.score(batch), theirs, rtol=1e-4, atol=1e-5)
        loss = published(**batch.inputs, labels=batch.labels).loss
    assert backbone.loss(batch).item() == pytest.approx(loss.item(), rel=1e-4)
    assert theirs.shape == (16, labels)


def test_the_head_drops_out_at_the_published_rate(backbones: dict[str, str]) -> None:
    rates = {family: fresh_copy(backbones[family]).head.dropout.p for family in FAMILIES}
    assert rates == {"bert": 0.1, "roberta": 0.1, "distilbert": 0.2, "deberta-v2": 0.1}


def with_pooling(folder: str, to: Path, mode: str) -> str:
    shutil.copytree(folder, to)
    to.joinpath("1_Pooling").mkdir()
    config = {"word_embedding_dimension": 32, f"pooling_mode_{mode}": True, "pooling_mode_max_tokens": False}
    to.joinpath("1_Pooling", "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(to)


@pytest.mark.parametrize("family", FAMILIES)
def test_mean_pooling_is_a_masked_mean(family: str, backbones: dict[str, str], tmp_path: Path) -> None:
    backbone = fresh_copy(with_pooling(backbones[family], tmp_path / family, "mean_tokens"))
    assert backbone.pooling == "mean"
    assert getattr(backbone.model, "pooler", None) is None, "an unused pooler is dropped"
    rows = encode(backbone)
    batch = rows.batch(range(8))
    assert not batch.inputs["attention_mask"].all()
    with torch.no_grad():
        features = backbone.features(batch)
        states = backbone.model(**batch.inputs).last_hidden_state
    for place in range(8):
        length = rows.lengths[place]
        mean = sum(states[place, token] for token in range(length)) / length
        assert torch.allclose(features[place], mean, rtol=1e-4, atol=1e-6)


def test_first_token_pooling_of_the_folder_goes_before_the_pooler(backbones: dict[str, str], tmp_path: Path) -> None:
    backbone = fresh_copy(with_pooling(backbones["bert"], tmp_path / "bert", "cls_token"))
    batch = encode(backbone).batch(range(4))
    with torch.no_grad():
        expected = backbone.model(**batch.inputs).last_hidden_state[:, 0]
        assert torch.equal(backbone.features(batch), expected)
    assert backbone.pooling == "first"


def test_an_unknown_pooling_is_an_error_that_names_it(backbones: dict[str, str], tmp_path: Path) -> None:
    folder = with_pooling(backbones["bert"], tmp_path / "bert", "weightedmean_tokens")
    with pytest.raises(UserError, match="pooling_mode_weightedmean_tokens"):
        Pretrained(folder, torch.device("cpu"))


def test_a_pooler_that_the_checkpoint_lacks_belongs_to_the_head(backbones: dict[str, str], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "bert"
    shutil.copytree(backbones["bert"], folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    assert len(kept) == len(weights) - 2
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    backbone = fresh_copy(str(folder))
    assert getattr(backbone.model, "pooler", None) is None
    backbone.freeze(keep=backbone.head)
    assert {"head.dense.weight", "head.dense.bias"} <= set(backbone.trainable())
    assert isinstance(backbone.head.activation, nn.Tanh)


def test_weights_that_lack_a_tensor_are_an_error_that_names_it(backbones: dict[str, str], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "bert"
    shutil.copytree(backbones["bert"], folder)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack 1 tensors of BertModel, encoder\.layer\.1\.output\.dense\.bias first"):
        Pretrained(str(folder), torch.device("cpu"))


def test_regression_trains_on_squared_error_and_scores_the_value(backbones: dict[str, str]) -> None:
    task = toy_task("regression")
    backbone = fresh_copy(backbones["bert"], task)
    batch = encode(backbone, task).batch(range(6))
    with torch.no_grad():
        scores = backbone.score(batch)
        loss = backbone.loss(batch)
    assert scores.shape == (6, 1)
    assert batch.labels.dtype == torch.float32
    assert loss.item() == pytest.approx((scores[:, 0] - batch.labels).square().mean().item(), rel=1e-6)


def test_dropout_zero_makes_training_mode_repeatable(backbones: dict[str, str]) -> None:
    """The override reaches every dropout, attention's included, and the head's."""
    for family in FAMILIES:
        backbone = fresh_copy(backbones[family], dropout=0.0)
        batch = encode(backbone).batch(range(8))
        backbone.model.train()
        with torch.no_grad():
            training = [backbone.score(batch) for _ in range(2)]
            backbone.model.eval()
            assert torch.equal(training[0], training[1]), family
            assert torch.allclose(training[0], backbone.score(batch), rtol=1e-4, atol=1e-5), family


def test_dropout_override_sets_every_rate_and_none_keeps_the_checkpoints(backbones: dict[str, str]) -> None:
    def rates(dropout: float | None) -> set[float]:
        modules = fresh_copy(backbones["distilbert"], dropout=dropout).model.modules()
        return {module.p for module in modules if isinstance(module, nn.Dropout)}

    assert rates(None) == {0.1, 0.2}
    assert rates(0.3) == {0.3}
    assert rates(None) == {0.1, 0.2}


def _pairs() -> Task:
    rows = [
        Row("0", {"a": "good film", "b": "bad", "c": "book"}, 0),
        Row("1", {"a": "the", "b": "a very fine", "c": "film"}, 1),
    ]
    return Task("pairs", "classification", {"train": rows}, ("a", "b", "c"), ("x", "y"), (MetricSpec("accuracy"),))


def test_pairs_are_two_segments_the_later_fields_joined(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"], _pairs())
    tokenizer = backbone.tokenizer
    rows = encode(backbone, _pairs())
    batch = rows.batch([0, 1])
    assert tokenizer.decode(batch.inputs["input_ids"][0]).split() == (
        ["[CLS]", "good", "film", "[SEP]", "bad", "book", "[SEP]", "[PAD]"]
    )
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1, 1]]
    assert batch.inputs["attention_mask"].tolist() == [[1] * 7 + [0], [1] * 8]
    assert batch.labels.tolist() == [0, 1]


@pytest.mark.parametrize("max_length", [5, 6, 7])
def test_rows_cut_to_the_longest_length_are_counted(max_length: int, backbones: dict[str, str]) -> None:
    task = toy_task(words=(1, 9))
    backbone = fresh_copy(backbones["bert"], task)
    rows = backbone.encode(task, task.splits["train"], max_length)
    whole = [len(row.fields["text"].split()) + 2 for row in task.splits["train"]]
    assert rows.truncated == sum(length > max_length for length in whole) > 0
    assert list(rows.lengths) == [min(length, max_length) for length in whole]


@pytest.mark.parametrize(
    ("family", "pair", "least"),
    [("bert", False, 3), ("bert", True, 4), ("deberta-v2", False, 3), ("deberta-v2", True, 4)],
)
def test_a_length_without_room_for_a_word_is_an_error(
    family: str, pair: bool, least: int, backbones: dict[str, str]
) -> None:
    """When the rows are tokenised, and before anything runs."""
    task = _pairs() if pair else toy_task(words=(5, 9))
    backbone = fresh_copy(backbones[family], task)
    for length in (1, least - 1):
        facts = f"max_length is {length}, .*at least {least}"
        with pytest.raises(UserError, match=facts):
            backbone.encode(task, task.splits["train"], length)
        with pytest.raises(UserError, match=facts):
            check_length(backbones[family], task, length)
    assert set(backbone.encode(task, task.splits["train"], least).lengths) == {least}
    check_length(backbones[family], task, least)


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_a_tokenizer_with_room_for_special_tokens_only_is_reported(
    family: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    """Before anything runs; for a pair, which has one special token more, when its rows are tokenised."""
    folder = tmp_path / "copy"
    shutil.copytree(backbones[family], folder)
    path = folder / "tokenizer_config.json"
    fields = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(fields | {"model_max_length": 2}), encoding="utf-8")
    with pytest.raises(UserError, match=r"takes 2 tokens .*model_max_length"):
        check_backbone(str(folder))
    backbone = fresh_copy(backbones[family], _pairs())
    backbone.tokenizer.model_max_length, whole = 3, backbone.tokenizer.model_max_length
    try:
        with pytest.raises(UserError, match=r"takes 3 tokens .* has 3 special"):
            backbone.encode(_pairs(), _pairs().splits["train"])
    finally:
        backbone.tokenizer.model_max_length = whole


def test_a_length_that_is_enough_for_any_tokenizer_loads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: pytest.fail("the tokenizer was read"))
    check_length("nowhere", toy_task(), MOST_SPECIAL_TOKENS + 1)


def test_a_check_of_lengths_ignores_an_unreadable_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    check_length(str(tmp_path), toy_task(), 1)


@pytest.mark.parametrize(("family", "longest"), [("bert", 12), ("roberta", 11), ("distilbert", 12)])
def test_no_row_is_longer_than_the_positions_allow(
    family: str, longest: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """RoBERTa's positions start after its padding index, which is 0 here, so one of twelve is never used."""
    folder = make_backbone(tmp_path_factory.mktemp("short") / family, family, max_position_embeddings=12)
    task = toy_task(words=(20, 20))
    backbone = fresh_copy(str(folder), task)
    rows = encode(backbone, task)
    assert set(rows.lengths) == {longest}
    with torch.no_grad():
        assert backbone.score(rows.batch([0, 1])).isfinite().all()


def test_precomputed_features_pass_through_to_the_head(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["roberta"])
    rows = encode(backbone)
    batch = rows.batch(range(4))
    with torch.no_grad():
        states = backbone.features(batch)
        again = backbone.score(Batch({"features": states}, batch.labels, batch.rows))
        assert torch.equal(again, backbone.score(batch))


def test_keep_takes_modules_and_sites_and_freezes_all_else(backbones: dict[str, str]) -> None:
    backbone: Encoder = fresh_copy(backbones["bert"])
    backbone.freeze(keep=[backbone.head, backbone.sites.norms, None])
    kept = {name.rpartition(".")[0].rpartition(".")[2] for name in backbone.trainable()}
    assert kept == {"LayerNorm", "output"}
    backbone.freeze(keep=backbone.sites.block)
    assert {name.split(".")[0] for name in backbone.trainable()} == {"encoder"}
    backbone.freeze()
    assert backbone.trainable() == {}


def test_a_backbones_head_depends_on_the_seed_alone(backbones: dict[str, str]) -> None:
    def head(seed: int) -> torch.Tensor:
        torch.rand(seed + 3)
        return fresh_copy(backbones["roberta"], seed=seed).head.output.weight.detach().clone()

    assert torch.equal(head(1), head(1))
    assert not torch.equal(head(1), head(2))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"), "has no tokenizer"),
        (("model.safetensors",), "has no weights"),
    ],
)
def test_a_folder_without_weights_or_tokenizer_is_an_error_before_anything_runs(
    missing: tuple[str, ...], message: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(backbones["bert"], folder)
    for name in missing:
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match=message):
        check_backbone(str(folder))


def test_a_tokenizer_of_special_tokens_alone_is_an_error(backbones: dict[str, str], tmp_path: Path) -> None:
    """transformers makes one up if it finds no vocabulary; every word would be unknown."""
    folder = tmp_path / "copy"
    shutil.copytree(backbones["bert"], folder)
    for path in folder.glob("*token*"):
        path.unlink()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", encoding="utf-8")
    with pytest.raises(UserError, match="no tokenizer with words"):
        loaded(str(folder))


def test_a_pooling_configuration_that_is_no_json_is_an_error(backbones: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(backbones["bert"], folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{mean", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        check_backbone(str(folder))


def test_an_encoder_whose_first_token_attends_to_no_other_is_reported(
    backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example a custom architecture, whose configuration this suite does not know."""
    from transformers import BertModel

    backbone = fresh_copy(backbones["bert"])
    plain = BertModel.forward

    def causal(self: BertModel, input_ids: torch.Tensor, **named: object) -> object:
        seen = torch.ones(input_ids.shape[1], input_ids.shape[1]).tril()[None, None].bool()
        return plain(self, input_ids, **named | {"attention_mask": seen})

    monkeypatch.setattr(BertModel, "forward", causal)
    backbone.probe()  # cached
    monkeypatch.setattr(encoder, "_CHECKED", set())
    with pytest.raises(UserError, match="first token of BertModel"):
        backbone.probe()
    backbone.pooling = "mean"
    backbone.probe()


def test_an_encoder_whose_states_ignore_tokens_is_reported(
    backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its configuration says: the weights of a model that is too large to be checked may all be zero."""
    backbone = fresh_copy(backbones["bert"])
    torch.nn.init.zeros_(backbone.model.get_input_embeddings().weight)
    monkeypatch.setattr(encoder, "_CHECKED", set())
    with pytest.raises(UserError, match="states of BertModel are the same") as caught:
        backbone.probe()
    assert "decoder" not in str(caught.value)
