"""The embedded decoder: its files are those that its card and its training describe."""

import json

import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from nano import shape, tokens
from nano.tokens import Layout
from tunefront.bench.models.locate import NANO, fingerprint

CARD = NANO.joinpath("README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(NANO / "tokenizer.json"))


def test_records_of_it_keep_their_fingerprint() -> None:
    assert fingerprint("nano") == "72f3cc423e74b0d8fa556d248162436a98b45b5a8a54450936f8a13df4a14f52"


def test_its_card_states_its_parameters() -> None:
    with safe_open(NANO / "model.safetensors", "pt") as weights:
        sizes = [weights.get_tensor(name).numel() for name in weights.keys()]  # noqa: SIM118
    assert f"{sum(sizes):,} parameters" in CARD


def test_its_configuration_is_that_of_its_training(tokenizer: Tokenizer) -> None:
    layout = Layout.of(tokenizer)
    trained = shape.config(tokenizer.get_vocab_size(), layout.end).to_dict()
    shipped = json.loads(NANO.joinpath("config.json").read_text("utf-8"))
    assert {name: shipped[name] for name in shipped.keys() & trained.keys() - {"architectures", "dtype"}} == {
        name: trained[name] for name in shipped.keys() & trained.keys() - {"architectures", "dtype"}
    }


def test_its_tokenizer_is_that_of_its_training(tokenizer: Tokenizer) -> None:
    """But for what is learned from the text."""
    shipped = json.loads(tokenizer.to_str())
    trained = json.loads(tokens.train(["some text"], size=tokens.SIZE).to_str())
    reserved = [[token["content"] for token in tokens_of["added_tokens"]] for tokens_of in (shipped, trained)]
    assert reserved[0] == reserved[1]
    assert tokenizer.get_vocab_size() == tokens.SIZE
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        assert shipped[part] == trained[part]
