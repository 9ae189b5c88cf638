"""Parameters that a method needs per task: by its paper's formula, and attached to the paper's backbones."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tunefront.bench.forecast.fake_models import attached
from tunefront.bench.forecast.presets import config_of, fake_model
from tunefront.bench.meters.parameters import trained_params_without_head
from tunefront.bench.papers.tables.table import PaperTable, prints_as
from tunefront.bench.suites.sweeps import swept_methods
from tunefront.methods.base import Method
from tunefront.methods.spelling import label

Data = Mapping[str, Any]  # Any: a parsed paper file, see its comments


@dataclass(frozen=True)
class Size:
    """Parameters per task in addition to the backbone, without heads.

    Args: size, the paper's m, None if the method has none; trained, trained parameters of the model with the method
    attached; formula, the same by the paper's formula, None without one; backbone, all parameters of the pretrained
    model; embeddings, those of its look-up tables.
    """

    method: str
    size: int | None
    trained: int
    formula: int | None
    backbone: int
    embeddings: int

    @property
    def share(self) -> float:
        """Trained parameters in per cent of the backbone's."""
        return 100 * self.trained / self.backbone

    @property
    def share_without_embeddings(self) -> float:
        """Trained parameters in per cent of the backbone's without look-up tables; 100 if all of it is trained."""
        whole = self.trained == self.backbone
        return 100.0 if whole else 100 * self.trained / (self.backbone - self.embeddings)

    def total(self, tasks: int) -> float:
        """The size for `tasks` tasks as a multiple of the backbone, which is stored once unless it is trained."""
        copies = tasks * self.trained / self.backbone
        return copies if self.trained == self.backbone else 1 + copies


def closed_form(layers: int, width: int, size: int) -> int:
    """Two bottlenecks per block and every layer norm: 2L(2md + m + d) + 2d(2L + 1) trained parameters without a head.

    Args: L blocks, width d, bottleneck m. Source: Houlsby et al. 2019, section 2.1 (2md + m + d per bottleneck; norms
    are trained too); BERT has two norms of 2d per block and one after its embeddings.
    """
    bottlenecks = 2 * layers * (2 * size * width + size + width)
    return bottlenecks + 2 * width * (2 * layers + 1)


def sizes(data: Data, backbone: str) -> list[Size]:
    """The size of each swept method on a backbone."""
    return [_size(method, backbone, data["field"]) for method in swept_methods(data["sizes"], Path())]


def size_tables(data: Data) -> tuple[PaperTable, ...]:
    """The size tables of a paper."""
    by_backbone = {backbone: sizes(data, backbone) for backbone in data["backbones"]}
    return (*(_swept(data, backbone, lines) for backbone, lines in by_backbone.items()), _printed(data))


def printed_sizes(data: Data) -> list[tuple[Mapping[str, str], list[Size]]]:
    """Printed figures of methods, and their sizes: several if the paper chooses the best per task."""
    printed = data["printed"]
    return [
        (
            row,
            [
                _size(method, printed["backbone"], data["field"])
                for item in row["methods"]
                for method in swept_methods(item, Path())
            ],
        )
        for row in printed["rows"]
    ]


@functools.cache
def _size(method: Method, name: str, field: str) -> Size:
    whole, embeddings = _backbone(name)
    backbone = attached(method, name)
    trained = trained_params_without_head(backbone.model, backbone.head)
    config = config_of(name)
    size = getattr(method, field, None)
    formula = None if size is None else closed_form(config.num_hidden_layers, config.hidden_size, size)
    return Size(label(method), size, trained, formula, whole, embeddings)


@functools.cache
def _backbone(name: str) -> tuple[int, int]:
    """(all parameters of a pretrained model, those of its look-up tables)."""
    model = fake_model(config_of(name))
    tables = [module.weight.numel() for module in model.modules() if isinstance(module, nn.Embedding)]
    return sum(parameter.numel() for parameter in model.parameters()), sum(tables)


def _swept(data: Data, backbone: str, lines: Sequence[Size]) -> PaperTable:
    tasks = data["tasks"]
    rows = [
        (
            str(line.size),
            f"{line.formula:,}",
            f"{line.trained:,}",
            f"{line.trained - (line.formula or 0):,}",
            f"{line.share:.3f} %",
            f"{line.share_without_embeddings:.3f} %",
            f"{line.total(tasks):.2f}x",
        )
        for line in lines
    ]
    whole, embeddings = lines[0].backbone, lines[0].embeddings
    return PaperTable(
        f"{backbone}: parameters per task",
        ("m", "by the formula", "attached", "difference", "of all", "without embeddings", f"{tasks} tasks"),
        tuple(rows),
        (
            f"{whole:,} parameters in all, {embeddings:,} of them embeddings. By the formula: 2L(2md + m + d) + "
            "2d(2L + 1), adapters and layer norms. Attached: parameters that require gradients after attaching "
            "the method to a model of this configuration. Both exclude the head, C(d + 1) for C classes.",
        ),
    )


def _printed(data: Data) -> PaperTable:
    tasks, backbone = data["tasks"], data["printed"]["backbone"]
    rows = [_row(printed, lines, tasks) for printed, lines in printed_sizes(data)]
    return PaperTable(
        f"{backbone}: figures printed by the paper",
        ("", f"{tasks} tasks, printed", "ours", "trained, printed", "of all", "without embeddings", "why"),
        tuple(rows),
    )


def _row(printed: Mapping[str, str], lines: Sequence[Size], tasks: int) -> tuple[str, ...]:
    totals = [line.total(tasks) for line in lines]
    shares, without = [line.share for line in lines], [line.share_without_embeddings for line in lines]
    return (
        printed["name"],
        f"{printed['total']}x",
        _span(totals, 2, "x"),
        f"{printed['trained']} %",
        _span(shares, 2, " %"),
        _span(without, 2, " %"),
        _why(printed, totals, shares, without),
    )


def _why(printed: Mapping[str, str], totals: list[float], shares: list[float], without: list[float]) -> str:
    """Explains the printed figures, as far as ours allow."""
    if len(totals) > 1:
        both = (("total", totals), ("trained", without))
        inside = all(min(ours) <= float(printed[name]) <= max(ours) for name, ours in both)
        relation = "in between" if inside else "not in between"
        return f"{relation}: the size chosen per task is not printed"
    if not prints_as(totals[0], printed["total"]):
        return "not explained"
    if prints_as(shares[0], printed["trained"]):
        return "as printed"
    fits = prints_as(without[0], printed["trained"])
    return "as printed, without embeddings in the denominator" if fits else "not explained"


def _span(values: Sequence[float], digits: int, unit: str) -> str:
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"
