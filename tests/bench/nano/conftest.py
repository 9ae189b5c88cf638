"""Material of made-up snippets, small enough to train on in a test."""

import numpy as np
import pytest
import torch

from tunefront.bench.nano import tokens
from tunefront.bench.nano.classes import groupings
from tunefront.bench.nano.corpus import Snippet
from tunefront.bench.nano.preparation import Material, Read, layout

SUBJECTS = ("river", "engine", "market", "garden", "planet", "music", "court", "kitchen")
VERBS = ("opens", "closes", "carries", "changes", "follows", "returns")
THINGS = ("the water", "a wheel", "the price", "an apple", "the star", "a song", "the law", "some bread")


def snippets() -> tuple[Snippet, ...]:
    """Sentences of eight files in two libraries, each file about a subject of its own."""
    return tuple(
        Snippet(f"The {subject} {verb} {thing} slowly.", f"lib{place % 2}", f"lib{place % 2}/{subject}.py", "summary")
        for place, subject in enumerate(SUBJECTS)
        for verb in VERBS
        for thing in THINGS
    )


@pytest.fixture(scope="session")
def material() -> Material:
    torch.set_num_threads(1)
    corpus = snippets()
    tokenizer = tokens.train([snippet.text for snippet in corpus], size=600)
    ids = tuple(
        np.array(encoding.ids) for encoding in tokenizer.encode_batch([f" {snippet.text}" for snippet in corpus])
    )
    subject = torch.tensor([SUBJECTS.index(snippet.text.split()[1]) for snippet in corpus])
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.one_hot(subject, 384).float()
    embeddings += 0.01 * torch.randn(embeddings.shape, generator=generator)
    embeddings = torch.nn.functional.normalize(embeddings, dim=-1).half()
    grouped = groupings(corpus, np.array([len(encoding) for encoding in ids]), embeddings.float().numpy(), sizes=(24,))
    read = Read(ids, embeddings, grouped)
    vocabulary = tokenizer.get_vocab()
    reserved = np.array([vocabulary[label] for label in tokens.LABELS])
    words = tuple(tuple(tokenizer.encode(f" {word}").ids) for word in SUBJECTS)
    letters = tuple(tuple(tokenizer.encode(f" {letter}").ids[-1:]) for letter in "ABCDEFGH")
    labels = {"reserved": tuple((int(token),) for token in reserved), "words": words, "letters": letters}
    return Material(
        tokenizer, layout(tokenizer), np.concatenate(ids), read, read, reserved, np.arange(260, 360), labels
    )
