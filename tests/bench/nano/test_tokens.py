"""nano's tokenizer: the plain template in few tokens, labels in one."""

import pytest

from tunefront.bench.nano import tokens
from tunefront.bench.nano.preparation import Material


def test_what_stands_around_a_text_is_one_token_each(material: Material) -> None:
    pieces = material.tokenizer.encode("Text: The river\nLabel: <label3>\n\nText: The").tokens
    assert pieces[0] == "Text:"
    assert pieces[pieces.index("\nLabel:") :][:4] == ["\nLabel:", " <label3>", "\n\n", "Text:"]


def test_any_text_comes_back(material: Material) -> None:
    text = "Zürich — naïve\n\nfin <label3>"
    assert material.tokenizer.decode(material.tokenizer.encode(text).ids) == text


def test_a_prompt_in_pieces_is_the_prompt_as_a_whole(material: Material) -> None:
    whole = material.tokenizer.encode("Text: The river opens.\nLabel: <label0>\n\n").ids
    around = material.layout
    text = material.tokenizer.encode(" The river opens.").ids
    label = material.tokenizer.encode(" <label0>").ids
    assert whole == [around.opening, *text, around.cue, *label, around.between]


def test_it_has_the_requested_size() -> None:
    trained = tokens.train(["one two three four five " * 20, "six seven eight nine ten " * 20], size=380)
    assert trained.get_vocab_size() <= 380
    assert set(tokens.LABELS) <= set(trained.get_vocab())


@pytest.mark.parametrize("label", ["a", "label", "river"])
def test_words_are_labels_too(material: Material, label: str) -> None:
    assert material.tokenizer.decode(material.tokenizer.encode(f" {label}").ids) == f" {label}"
