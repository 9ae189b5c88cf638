"""Material of made-up snippets, small enough to train on in a test."""

import numpy as np
import pytest
import torch

from nano import tokens
from nano.classes import groupings
from nano.corpus import Snippet
from nano.material import Material, encode
from nano.tokens import Layout

SUBJECTS = ("river", "engine", "market", "garden", "planet", "music", "court", "kitchen")
VERBS = ("opens", "closes", "carries", "changes", "follows", "returns")
THINGS = ("the water", "a wheel", "the price", "an apple", "the star", "a song", "the law", "some bread")
SNIPPETS = tuple(
    Snippet(f"The {subject} {verb} {thing} slowly.", f"lib{place % 2}", f"lib{place % 2}/{subject}.py", "summary")
    for place, subject in enumerate(SUBJECTS)
    for verb in VERBS
    for thing in THINGS
)
"""Sentences of eight files in two libraries, each file about a subject of its own."""


@pytest.fixture(scope="session")
def material() -> Material:
    torch.set_num_threads(1)
    tokenizer = tokens.train([snippet.text for snippet in SNIPPETS], size=600)
    texts = encode((snippet.text for snippet in SNIPPETS), tokenizer)
    subject = torch.tensor([SUBJECTS.index(snippet.text.split()[1]) for snippet in SNIPPETS])
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.one_hot(subject, 384).float()
    embeddings += 0.01 * torch.randn(embeddings.shape, generator=generator)
    embeddings = torch.nn.functional.normalize(embeddings, dim=-1).half()
    lengths = np.array([len(text) for text in texts])
    grouped = groupings(SNIPPETS, lengths, embeddings.float().numpy(), sizes=(24,))
    reserved = np.array([tokenizer.token_to_id(label) for label in tokens.LABELS])
    labels = {
        "reserved": tuple((int(token),) for token in reserved),
        "words": tuple(tuple(tokenizer.encode(f" {word}").ids) for word in SUBJECTS),
        "letters": tuple(tuple(tokenizer.encode(f" {letter}").ids[-1:]) for letter in "ABCDEFGH"),
    }
    return Material(
        tokenizer,
        Layout.of(tokenizer),
        np.concatenate(texts),
        texts,
        embeddings,
        grouped,
        reserved,
        np.arange(260, 360),
        labels,
    )
