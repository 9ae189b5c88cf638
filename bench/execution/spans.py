"""Scores a trained cell again without what its method inserted into spans of blocks (Houlsby et al. 2019, figure 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import nn

from tunefront.bench.data import metrics
from tunefront.bench.models.scoring.answers import check_scores, predictions_of
from tunefront.bench.records import Span
from tunefront.bench.settings import every_span, read_spans
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.methods.base import Scorer, Unsupported
from tunefront.methods.inject import matching, without_plugs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.bench.execution.setup import Setup


def check_removable(setup: Setup) -> None:
    """Unsupported, before anything is trained, if the requested spans cannot be removed from this model.

    That is so if the method plugs nothing into the blocks, or also puts something before the tokens of every row, whose
    states are read once and kept; or if a span is beyond the blocks.
    """
    spans = setup.cell.config.removed_spans
    if spans is None:
        return
    name, blocks = setup.cell.method.name, _blocks(setup)
    with without_plugs(blocks) as plugs:
        if not plugs:
            raise Unsupported(
                f"{name} inserts no modules into the blocks, so there is nothing to remove from a span; methods that "
                "do are adapters, low-rank updates and rescaled activations"
            )
    if setup.backbone.led:
        raise Unsupported(f"{name} also leads every row, and what was read of the lead would keep the removed modules")
    beyond = [last for _, last in read_spans(spans) or () if last >= len(blocks)]
    if beyond:
        raise Unsupported(f"removed_spans names block {max(beyond)}; the backbone has blocks 0 to {len(blocks) - 1}")


def scores_without_spans(setup: Setup, scorer: Scorer, labels: Sequence[float]) -> tuple[Span, ...] | None:
    """The scores without the plugs of each span, in order; None if none are removed. Nothing is trained again: norms
    and a head that were trained stay as trained. No cost of the cell is changed.

    Blocks are numbered from 0, in an encoder-decoder through both stacks, the encoder first.
    """
    text = setup.cell.config.removed_spans
    if text is None:
        return None
    if setup.trainer.prompts.prefixes:
        raise Unsupported(f"{setup.cell.method.name} has demonstrations, whose kept states include the modules")
    task, blocks, trainer = setup.task, _blocks(setup), cast(MeasuringHarness, setup.trainer)  # as the cell runs
    spans = read_spans(text) or every_span(len(blocks))
    found = []
    for place, (first, last) in enumerate(spans):
        with without_plugs(blocks[first : last + 1]) as plugs:
            values = trainer.score_again(scorer, setup.test, place, len(spans))
        check_scores(task, values)
        scores = metrics.score(task, predictions_of(task, values), labels)
        found.append(Span(first=first, last=last, plugs=plugs, scores=scores))
    return tuple(found)


def _blocks(setup: Setup) -> list[nn.Module]:
    """The blocks of all stacks, in order of registration, which is that of execution."""
    return list(matching(setup.backbone.model, setup.backbone.sites.block).values())
