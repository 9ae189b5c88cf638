"""`tunefront ablate`: what a single thing about a method changes, as the ablations of the papers ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.cli import options
from tunefront.bench.cli.running import Asked, How, run_cells
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.suites.overrides import Overrides, Texts

if TYPE_CHECKING:
    from collections.abc import Callable


@options.add_cell_options()
def ablate(
    what: options.Ablated,
    texts: Texts,
    spans: options.Spans = None,
    values: options.Values = None,
    out: options.Out = "results",
    workers: options.Workers = None,
    engine: options.Engine = "local",
    plan_first: options.PlanFirst = None,
    shard: options.Share = None,
    debug: options.Debug = False,
) -> None:
    """Vary one thing about methods, then write a report about it.

    WHAT is `spans` (what the method inserted is left out of each span of blocks after training), `init` (standard
    deviation of the initial weights), `losses` (T-Few's three, on and off), `size`, `layers` (top blocks trained) or
    `shots` (learning curves). Each is a shipped suite, `ablate_WHAT`; options replace its lists as for `run`, and
    --method names the methods that are varied. Cells are recorded, resumed and reported as those of `run`, with its
    exit codes.
    """

    def asked(on_status: Callable[[str], None]) -> Asked:
        from tunefront.bench.suites.ablations import Ablation
        from tunefront.bench.suites.expand import expand

        wrong = ErrorCollector()
        overrides = Overrides.from_texts(texts, wrong)
        with wrong.collect():
            ablation = Ablation.of(what.value, values, spans)
            overrides = ablation.with_spans(overrides)
        wrong.raise_if_any()
        return Asked(expand(ablation.suite, overrides, on_status=on_status, wrong=wrong, vary=ablation.vary))

    run_cells(asked, How(out, workers, engine, plan_first, shard=shard), debug)
