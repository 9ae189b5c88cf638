"""nano's tokenizer: the plain template in few tokens, labels in one."""

from nano import tokens
from nano.material import Material


def test_what_stands_around_a_text_is_one_token_each(material: Material) -> None:
    encode, layout = material.tokenizer.encode, material.layout
    text, label = encode(" The river opens.").ids, encode(" <label0>").ids
    assert len(label) == 1
    whole = encode("Text: The river opens.\nLabel: <label0>\n\n").ids
    assert whole == [layout.opening, *text, layout.cue, *label, layout.between]


def test_any_text_comes_back(material: Material) -> None:
    text = "Zürich — naïve\n\nfin <label3>"
    assert material.tokenizer.decode(material.tokenizer.encode(text).ids) == text


def test_it_has_the_requested_size() -> None:
    trained = tokens.train(["one two three four five " * 20, "six seven eight nine ten " * 20], size=380)
    assert trained.get_vocab_size() <= 380
    assert set(tokens.LABELS) <= set(trained.get_vocab())
