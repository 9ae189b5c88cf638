"""Mixed batches of fitted cells: their scores beside those of each cell alone, and rows per second."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from safetensors.torch import load
from torch import Tensor

from tunefront.bench.cells import Cell
from tunefront.bench.checkpoints.loading import restored, scores_from_checkpoint
from tunefront.bench.data import sources
from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.execution.engines import Engine, Progress
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.grid import Outcome, run_grid
from tunefront.bench.execution.identity import Identity, Shared
from tunefront.bench.execution.setup import Setup, prompting_of
from tunefront.bench.execution.unchanged import process_unchanged
from tunefront.bench.meters.ways import Serving
from tunefront.bench.models.examples import EncodedExamples, stacked
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.routing.member import Member, check_parts
from tunefront.bench.models.routing.rows import MixedRows
from tunefront.bench.models.session import Session
from tunefront.bench.records import Mixed, Record
from tunefront.bench.records.store import Store
from tunefront.bench.training.demonstrations import Prompts
from tunefront.methods.base import Scorer, Unsupported
from tunefront.methods.spelling import label

log = logging.getLogger("tunefront")

MOST_COPIES_BYTES = 4 * 2**30
"""A model per task is measured if all of them take no more than this."""


@dataclass(frozen=True)
class FittedMember:
    """A fitted cell as a member of a router: its test rows, encoded, and their scores alone (rows, choices)."""

    cell: Cell
    task: Task
    member: Member
    prompts: Prompts
    rows: EncodedExamples
    alone: Tensor

    def encode(self, rows: Sequence[Row]) -> EncodedExamples:
        """Other rows, after the member's demonstrations; reads more of these if a row has room for more."""
        backbone = self.member.backbone
        examples = backbone.encode(self.task, rows, self.cell.config.max_length)
        for place, n_kept in self.prompts.missing(examples).items():
            self.prompts.read(backbone, place, n_kept)
        return self.prompts.prepend_to(examples)


@dataclass(frozen=True)
class Mixture:
    """Fitted cells of one backbone, and the router that scores their rows together."""

    fitted: Sequence[FittedMember]
    published: Backbone
    autocast: Callable[[], AbstractContextManager[object]]

    @property
    def rows(self) -> MixedRows:
        """The test rows of all members."""
        return MixedRows.of(self.published, [each.rows for each in self.fitted])

    @property
    def members(self) -> list[Member]:
        """The members, in the order of the cells."""
        return [each.member for each in self.fitted]

    def measure(self) -> list[Mixed]:
        """The scores in mixed batches beside those alone, and the costs of three ways to score; for each member."""
        size = self.fitted[0].cell.config.eval_batch_size
        model_bytes = sum(value.nbytes for value in self.published.model.parameters())
        serving = Serving(
            self.published,
            self.members,
            self.rows,
            batch_size=size,
            separate=model_bytes * len(self.fitted) <= MOST_COPIES_BYTES,
        )
        with self.autocast():
            scored = serving.router.score_all(self.rows, size)
            served = serving.measure()
        shared = Shared()
        keys = tuple(Identity.of(each.cell, shared).key for each in self.fitted)
        return [
            Mixed(
                members=keys,
                n_rows=sum(map(len, serving.arrivals)),
                largest_difference=largest_difference(each.alone, scores),
                changed_answers=int((each.alone.argmax(1) != scores.argmax(1)).sum()),
                rows_per_second={way: each_way.rows_per_second for way, each_way in served.items()},
                weights_bytes={way: each_way.weights_bytes for way, each_way in served.items()},
                peak_bytes={way: each_way.peak_bytes for way, each_way in served.items()},
            )
            for each, scores in zip(self.fitted, scored, strict=True)
        ]


def largest_difference(first: Tensor, second: Tensor) -> float:
    """The largest difference of two tensors of scores; where a row has no such choice, both are -inf."""
    finite = first.isfinite() & second.isfinite()
    return float((first - second)[finite].abs().max()) if finite.any() else 0.0


@dataclass(frozen=True)
class Mixtures:
    """Cells that are fitted one by one, and then scored together: those of a backbone, draw and seed."""

    cells: tuple[Cell, ...]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Mixtures:
        """UserError for fewer than two cells of a backbone, or if their settings or dtypes differ."""
        wrong = ErrorCollector()
        for group in _groups(cells):
            first = group[0]
            if len(group) < 2:
                wrong.messages.append(
                    f"a mixed batch needs at least two members, and {label(first.method)} on {first.task} is the only "
                    f"one for {first.backbone} with seed {first.seed}; give more with --method or --task."
                )
            other = next((cell for cell in group if cell.config != first.config), None)
            if other is not None:
                wrong.messages.append(
                    f"the members of a mixed batch have the same run settings, but those of {label(other.method)} on "
                    f"{other.task} differ from those of {label(first.method)} on {first.task}; give them with --set."
                )
            dtypes = sorted({cell.recipe.dtype for cell in group})
            if len(dtypes) > 1:
                wrong.messages.append(
                    f"the members of a mixed batch compute in one dtype, got {' and '.join(dtypes)}; give one with "
                    "--set dtype=..."
                )
        if not cells:
            wrong.messages.append("there is no cell to mix; give methods and tasks.")
        wrong.raise_if_any()
        return cls(tuple(cells))

    def run(self, store: Store, engine: Engine | None = None, progress: Progress | None = None) -> Outcome:
        """Runs the cells that are not recorded, then scores the rows of each group in mixed batches, unless its records
        have that already. UserError, before anything runs, for methods that cannot share a batch."""
        engine = engine or Local()
        session = engine.session
        keys = {cell: Identity.of(cell).key for cell in self.cells}
        if not all(_is_mixed(store.read(keys[cell]), group, keys) for group in _groups(self.cells) for cell in group):
            check_methods(self.cells, session)
            engine = engine.after_computing()
        kept = [replace(cell, keep=scores_from_checkpoint(cell.method)) for cell in self.cells]
        outcome = run_grid(kept, store, engine, progress)
        if outcome.interrupted:
            return outcome
        records = {record.key: record for record in outcome.records}
        for group in _groups(self.cells):
            ok = [cell for cell in group if records[keys[cell]].status == "ok"]
            if len(ok) < 2:
                log.warning("%s has fewer than two members that ran, so nothing was mixed", group[0].backbone)
            elif not all(_is_mixed(records[keys[cell]], ok, keys) for cell in ok):
                if progress is not None:
                    progress.working(f"scoring the rows of {len(ok)} members in mixed batches, and in other ways")
                records |= _mixed(ok, records, keys, session, store)
        return replace(outcome, records=tuple(records.values()))


def _mixed(
    cells: Sequence[Cell], records: Mapping[str, Record], keys: Mapping[Cell, str], session: Session, store: Store
) -> dict[str, Record]:
    """The records of cells that were scored in mixed batches, written to the store."""
    mixture = fit_members(cells, session, store)
    with process_unchanged():
        measured = mixture.measure()
    made = {}
    for cell, mixed in zip(cells, measured, strict=True):
        made[keys[cell]] = records[keys[cell]].model_copy(update={"mixed": mixed})
        store.write(made[keys[cell]])
    return made


def _is_mixed(record: Record | None, group: Sequence[Cell], keys: Mapping[Cell, str]) -> bool:
    """Whether a record has the scores in batches with these members."""
    if record is None or record.status == "failed":
        return False
    return record.status == "skipped" or record.mixed.members == tuple(keys[cell] for cell in group)


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells that are mixed, by backbone, draw and seed."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.backbone, cell.draw_seed, cell.seed), []).append(cell)
    return list(groups.values())


def check_methods(cells: Sequence[Cell], session: Session) -> None:
    """UserError with every method that cannot share a batch with others: it is attached to the backbone, and not
    fitted. A method that the backbone does not support is not reported; its cell will be skipped."""
    wrong = ErrorCollector()
    for cell in {(cell.spelled, cell.backbone): cell for cell in cells}.values():
        with process_unchanged():
            task = sources.load_task(cell.task)
            pretrained = session.pretrained(cell.backbone, cell.config.device)
            try:
                backbone = pretrained.fresh_copy(task, cell.seed, cell.recipe.dropout, prompting_of(cell, task))
                cell.method.attach(backbone)
            except Unsupported:
                continue
            try:
                check_parts(backbone)
            except Unsupported as reason:
                wrong.messages.append(
                    f"{label(cell.method)} cannot share a batch with other methods on {cell.backbone}: {reason}; "
                    "leave it out."
                )
    wrong.raise_if_any()


def fit_members(cells: Sequence[Cell], session: Session, store: Store | None = None) -> Mixture:
    """Fits cells of one backbone, or loads them from their checkpoints in the store, and prepares them for a router.

    Errors: UserError if there are fewer than two; Unsupported if one cannot share a batch.
    """
    if len({cell.backbone for cell in cells}) > 1 or not cells:
        raise UserError("the members of a mixed batch share one backbone; give cells of one.")
    fitted = []
    for cell in cells:
        with process_unchanged():
            setup = Setup(cell, session)
            check_parts(setup.backbone)
            scorer = _fit(setup, store)
            rows = setup.trainer.tools.prepend_to(setup.test)
            alone = _score(setup, scorer, rows)
            member = Member.of(cell.title, setup.backbone, scorer)
            fitted.append(FittedMember(cell, setup.task, member, setup.trainer.prompts, rows, alone))
    published = setup.pretrained.fresh_copy(setup.task, cell.seed, None, getattr(setup.backbone, "prompting", None))
    return Mixture(fitted, published, setup.trainer.tools.subject.autocast)


def _fit(setup: Setup, store: Store | None) -> Scorer:
    """The scorer of a fitted cell; methods whose checkpoint is not enough, or is missing, are fitted again."""
    method = setup.cell.method
    content = None
    if store is not None and scores_from_checkpoint(method):
        content = store.checkpoint(store.read(Identity.of(setup.cell).key))
    if content is None:
        return setup.fit()
    return restored(method, setup.backbone, load(content))


def _score(setup: Setup, scorer: Scorer, rows: EncodedExamples) -> Tensor:
    """The scores (rows, choices) of a cell alone."""
    setup.backbone.model.eval()
    scores: dict[int, Tensor] = {}
    with torch.no_grad(), setup.trainer.tools.subject.autocast():
        for batch in rows.scoring_order(setup.cell.config.eval_batch_size):
            values = scorer(rows.batch(batch, setup.backbone.model.device)).float().cpu()
            scores |= zip(batch, values, strict=True)
    return stacked([scores[row] for row in range(len(rows))])
