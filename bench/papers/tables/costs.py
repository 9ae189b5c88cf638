"""Costs of few-shot learning in FLOPs and on disk: as printed by a paper, by its rule of thumb, and counted."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tunefront.bench.forecast.fake_models import attached
from tunefront.bench.meters.flops.analytic import Analytic, Flops
from tunefront.bench.meters.flops.rule import rule_flops
from tunefront.bench.meters.storage import safetensors_bytes
from tunefront.bench.models.families import Backbone
from tunefront.bench.papers.tables.table import prints_as
from tunefront.bench.suites.sweeps import method_of

Data = Mapping[str, Any]  # Any: a parsed paper file, see its comments
UNITS = {"B": 1, "kB": 10**3, "MB": 10**6}

BINARY = {"B": 1, "kB": 2**10, "MB": 2**20}
"""Binary readings of the units."""


@dataclass(frozen=True)
class Work:
    """FLOPs of one line of the paper's table.

    Args: printed, as text; rule, by the paper's rule and parameter count; without_query, the same without the query's
    own tokens, None if nothing else is read; analytic, counted; kept, counted with cached demonstrations, None without
    demonstrations or a cache; lacking, the positions of a model that has fewer than the tokens, else None.
    """

    name: str
    printed: str
    rule: int
    without_query: int | None
    analytic: Flops
    kept: Flops | None = None
    lacking: int | None = None

    @property
    def agrees(self) -> bool:
        """Whether the rule gives the printed figure, to its last digit."""
        return prints_as(self.rule, self.printed)


@dataclass(frozen=True)
class Disk:
    """Bytes per task in addition to the backbone: of the `numbers`, and of files that contain them, 0 without any."""

    name: str
    printed: str
    numbers: int
    safetensors: int = 0
    torch: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the bytes of the numbers are the printed figure, to its last digit."""
        value, unit = self.printed.split()
        return prints_as(self.numbers / UNITS[unit], value)


@dataclass(frozen=True)
class Line:
    """A line of the paper's table: a query, training, and storage."""

    inference: Work
    training: Work
    disk: Disk


def lines(data: Data) -> list[Line]:
    """The paper's lines, computed."""
    return [_line(data, row) for row in data["rows"]]


def _line(data: Data, row: Data) -> Line:
    backbone = attached(method_of(row["method"]), row["backbone"])
    demonstrations = data["demonstrations"] if row.get("demonstrations") else 0
    read = demonstrations * data["demonstration_tokens"]
    disk = _disk(row, backbone, read * data["token_bytes"])
    return Line(_inference(data, row, backbone, read), _training(data, row, backbone), disk)


def _inference(data: Data, row: Data, backbone: Backbone, read: int) -> Work:
    """A query after `read` tokens of demonstrations, which are read again for it."""
    analytic, in_one = Analytic(backbone), backbone.sites.family == "seq2seq"
    query = _shape(data, backbone, 1, read, in_one)
    score, positions = analytic.score(query), getattr(backbone.model.config, "max_position_embeddings", None)
    return Work(
        row["name"],
        row["inference_flops"],
        rule_flops(row["params"], read + data["query_tokens"], in_one),
        rule_flops(row["params"], read, in_one) if read else None,
        score + analytic.prefix(0 if in_one else read),
        score if read and not in_one else None,
        positions if positions and positions < read + data["query_tokens"] else None,
    )


def _training(data: Data, row: Data, backbone: Backbone) -> Work:
    """All training steps; zero if nothing is trained."""
    if not backbone.trainable():
        return Work(row["name"], row["training_flops"], 0, None, Flops())
    steps, batch, in_one = data["steps"], data["batch"], backbone.sites.family == "seq2seq"
    tokens = steps * batch * data["query_tokens"]
    step = Analytic(backbone).loss(_shape(data, backbone, batch, 0, in_one, training=True))
    rule = rule_flops(row["params"], tokens, in_one, training=True)
    return Work(row["name"], row["training_flops"], rule, None, step * steps)


def _shape(
    data: Data, backbone: Backbone, examples: int, read: int, in_one: bool, training: bool = False
) -> tuple[int, ...]:
    """The shape of examples in the family's layout; `in_one`: demonstrations are part of the prompt."""
    choices = torch.full((examples, data["choices"]), data["choice_tokens"])
    prompt = data["query_tokens"] - data["choices"] * data["choice_tokens"]
    queries = torch.full((examples,), prompt + (read if in_one else 0))
    return backbone.layout.one_pass(queries, choices, 0 if in_one else read, training)  # type: ignore[union-attr]


def _disk(row: Data, backbone: Backbone, demonstrations: int) -> Disk:
    """Bytes of the trained parameters as saved (zeros of the same size), and of the demonstrations as token ids."""
    trained = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in backbone.trainable().items()}
    if not trained:
        return Disk(row["name"], row["disk"], demonstrations)
    file = io.BytesIO()
    torch.save(trained, file)
    numbers = sum(tensor.nbytes for tensor in trained.values())
    return Disk(row["name"], row["disk"], numbers + demonstrations, safetensors_bytes(trained), file.tell())
