"""The whole report as data: the content of every format, in order, computed once from the records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.bench.errors import UserError, without_passwords
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports import units
from tunefront.reports.compare import checks, filters, measures, panels, recipe_choice
from tunefront.reports.compare.aliases import unify_names
from tunefront.reports.compare.panels import REFERENCE
from tunefront.reports.compare.printable import make_printable
from tunefront.reports.compare.protocols import is_ordinary, ordinary
from tunefront.reports.compare.superseded import without_mended
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.costs.money import Maps, panel_maps
from tunefront.reports.costs.panel_ledgers import ledgers
from tunefront.reports.costs.table import cost_tables
from tunefront.reports.names import describe_shots, make_visible, short_names
from tunefront.reports.sections import few_shot, findings, provenance, scores
from tunefront.reports.sections.answer import Answer, answer, summarise
from tunefront.reports.sections.cautions import count_skipped_and_failed, list_warnings
from tunefront.reports.sections.how_sure import certainty_table
from tunefront.reports.sections.how_to_read import explain_report
from tunefront.reports.sections.overview import overview_table
from tunefront.reports.sections.papers import paper_tables
from tunefront.reports.sections.provenance import not_run_table
from tunefront.reports.sections.studies.collect import mention, studies
from tunefront.reports.sections.studies.study import Material, Study
from tunefront.reports.tables import Table, anchor, fold_constant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.filters import Where
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.prices import Prices


QUESTION = "What does each way of adapting a model cost, and how well does it score?"
"""The title of a report without an answer."""
LEADING = 4
"""Number of panels whose main finding is shown at the top of the report."""


@dataclass(frozen=True)
class Runs:
    """The records behind an entry: one list per task, each with the id that its numbers link to."""

    id: str
    label: str
    parts: tuple[tuple[str, Table], ...]

    @property
    def amount(self) -> str:
        """The number of records in words."""
        return units.plural(sum(len(table.rows) for _, table in self.parts), "record")


@dataclass(frozen=True)
class Page:
    """One panel in the report. `tag` is used in file names and ids; `reference` is the requested label; `answer` is
    the recommendation, and the best method within each budget; `findings` say how sure that is; `undrawn` names the
    costs without a plot; `names` are the tasks' short names, `prices` those of the user, `maps` say which way is
    cheapest by them."""

    panel: Panel
    tag: str
    title: str
    reference: str
    answer: Answer
    findings: tuple[str, ...]
    scores: Table
    certainty: Table | None
    few_shot: few_shot.FewShot | None
    undrawn: str
    costs: tuple[Table, ...]
    ledgers: tuple[Ledger, ...]
    runs: tuple[Runs, ...]
    names: Mapping[str, str]
    prices: Prices | None = None
    maps: Maps = field(default_factory=dict)

    def anchor_of(self, label: str) -> str:
        """The id of a method's records; empty for a label that the panel does not have."""
        labels = [run.label for run in self.runs]
        return self.runs[labels.index(label)].id if label in labels else ""

    @property
    def shaded(self) -> bool:
        """Whether the score table shows differences as colours."""
        return any(cell.shade is not None for row in self.scores.rows for cell in row)

    @property
    def ledger_tables(self) -> list[Table]:
        """The tables of all ledgers."""
        return [table for ledger in self.ledgers for table in ledger.tables]


@dataclass(frozen=True)
class Report:
    """The content of a report. `records` are those left by the filter, `overview` shows all panels at a glance,
    `studies` are the ablations and other protocols, `papers` the differences from reproduced papers, `folders` the
    results folders by key if there are several."""

    title: str
    subtitle: str
    lead: tuple[str, ...]
    warnings: tuple[str, ...]
    overview: Table | None
    reading: tuple[tuple[str, str], ...]
    pages: tuple[Page, ...]
    studies: tuple[Study, ...]
    background: tuple[Table, ...]
    absent: Table | None
    papers: tuple[Table, ...]
    records: tuple[Record, ...]
    folders: Mapping[str, str]


def compose(
    records: Sequence[Record],
    where: Where = None,
    reference: str = REFERENCE,
    plans: Sequence[Record] = (),
    notes: Sequence[str] = (),
    answers: AnswerFiles | None = None,
    places: Mapping[str, str] | None = None,
    prices: Prices | None = None,
) -> Report:
    """The report of these records. UserError if there are none or if they cannot be compared.

    `reference` is a label; `plans` are predicted records with the keys of the cells that they predict; `notes` are
    shown after the warnings; `answers` reads the records' predictions; `places` are the records' folders by key;
    `prices` those of the user. Failed and skipped records whose cell has a newer ok record are left out.
    """
    if not records:
        raise UserError("there are no records to report on; create some with `tunefront run --out FOLDER` first.")
    plans = make_printable([*plans, *(record for record in records if record.status == "planned")])
    records = [record for record in records if record.status != "planned"]
    if not records:
        raise UserError(
            "there are only plans, no results to report on; create records with `tunefront run --out FOLDER` first."
        )
    records = sorted(filters.select(unify_names(make_printable(records)), where), key=lambda record: record.key)
    records, mended = without_mended(records)
    folders = _shown_folders(records, places)
    scored = [record for record in records if record.status == "ok"]
    ok = ordinary(scored)
    rest = [record for record in records if record.status != "ok"]
    checks.check(ok, places)
    selection = recipe_choice.choose(ok, rest)
    panel_list = panels.build(selection, reference, answers)
    names = short_names(record.task for record in records)
    backbones = short_names(record.backbone for record in records)
    pages = _pages(panel_list, names, backbones, reference, plans, folders, prices)
    found = studies(Material(tuple(scored), names, backbones, answers or AnswerFiles({}), tuple(rest)))
    others = [record for record in scored if not is_ordinary(record)]
    background = _background(selection, others, names, backbones, folders, mended) if scored else []
    lead = [*_lead(pages), *mention(found)]
    if not scored:
        lead = [f"No cell has a score: {count_skipped_and_failed(rest)}. The reasons are below."]
    return Report(
        _headline(pages, found) or (QUESTION if scored else "No cell has a score"),
        _subtitle(panel_list, others, backbones, rest),
        tuple(lead),
        (
            *list_warnings(panel_list, [page.title for page in pages], selection, ok, rest, names),
            *map(make_visible, notes),
        ),
        overview_table(panel_list, [page.title for page in pages], reference),
        tuple(explain_report(panel_list)),
        tuple(pages),
        found,
        tuple(background),
        not_run_table(rest, names, backbones) if rest else None,
        paper_tables(records, names),
        tuple(records),
        folders,
    )


def _headline(pages: Sequence[Page], found: Sequence[Study]) -> str:
    """The answer in a few words, or what was studied if nothing is compared; empty if there is neither."""
    if not pages:
        return found[0].title if found else ""
    return pages[0].answer.headline if len(pages) == 1 else summarise({page.title: page.answer for page in pages})


def _shown_folders(records: Sequence[Record], places: Mapping[str, str] | None) -> dict[str, str]:
    """Key of a record -> its folder as printed; empty unless the records are from several."""
    known = {record.key: places[record.key] for record in records if places and record.key in places}
    shown = {folder: make_visible(without_passwords(folder)) for folder in set(known.values())}
    return {key: shown[folder] for key, folder in known.items()} if len(shown) > 1 else {}


def _lead(pages: Sequence[Page]) -> list[str]:
    """The text at the top: all findings if there is one panel, else the main finding of the first few panels."""
    if len(pages) == 1:
        return list(pages[0].findings)
    rest = len(pages) - LEADING
    more = [f"The findings on the other {rest} are next to their scores."] if rest > 0 else []
    return [page.findings[0] for page in pages[:LEADING]] + more


def _pages(
    panels: list[Panel],
    names: Mapping[str, str],
    backbones: Mapping[str, str],
    reference: str,
    plans: Sequence[Record],
    folders: Mapping[str, str],
    prices: Prices | None,
) -> list[Page]:
    pages: list[Page] = []
    for index, panel in enumerate(panels):
        explained = next((page.title for page in pages if page.few_shot is not None), None)
        lists, maps = [], panel_maps(panel, names, prices)
        sentences = tuple(findings.lead(panel, backbones[panel.backbone], len(panels) > 1, reference, names))
        columns = provenance.record_columns(names, panel.records, folders)
        for e, entry in enumerate(panel.entries):
            parts = tuple(
                (anchor(index, e, t), provenance.record_table(entry.records[task], columns))
                for t, task in enumerate(panel.tasks)
                if task in entry.records
            )
            lists.append(Runs(anchor(index, e), entry.label, parts))
        pages.append(
            Page(
                panel,
                _tag(backbones[panel.backbone], panel.shots, index),
                _title(panel, panels, backbones),
                reference,
                answer(panel, sentences),
                sentences,
                scores.score_table(panel, index, names),
                certainty_table(panel, index),
                few_shot.section(panel, index, names, explained),
                _undrawn(panel),
                tuple(map(fold_constant, cost_tables(panel, index))),
                ledgers(panel, index, names, plans, prices, maps),
                tuple(lists),
                names,
                prices,
                maps,
            )
        )
    return pages


def _background(
    selection: recipe_choice.Selection,
    others: Sequence[Record],
    names: Mapping[str, str],
    backbones: Mapping[str, str],
    folders: Mapping[str, str],
    mended: str,
) -> list[Table]:
    made = [provenance.choice_table(selection.choices, names, backbones)] if selection.choices else []
    kept = (*selection.records, *others)
    data = [provenance.task_table(kept, names), *filter(None, [provenance.input_table(kept, names)])]
    return [
        *made,
        provenance.environment_table(kept, folders, mended),
        *data,
        *provenance.recipe_tables(kept, backbones),
    ]


def _subtitle(panels: list[Panel], others: Sequence[Record], backbones: Mapping[str, str], rest: list[Record]) -> str:
    if not panels and others:
        models = list(dict.fromkeys(backbones[record.backbone] for record in others))
        return f"{_models(models)}, {units.plural(len(others), 'run')}"
    if not panels:
        return f"{units.plural(len(rest), 'cell')}, none with a score"
    methods = len({entry.label for panel in panels for entry in panel.entries})
    tasks = len({task for panel in panels for task in panel.tasks})
    models = list(dict.fromkeys(backbones[panel.backbone] for panel in panels))
    amount = sum(len(panel.records) for panel in panels) + len(others)
    text = f"{units.plural(methods, 'method')} on {_models(models)}, {units.plural(tasks, 'task')}"
    return f"{text}, {units.plural(amount, 'run')}"


def _models(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else units.plural(len(names), "backbone")


def _title(panel: Panel, panels: list[Panel], backbones: Mapping[str, str]) -> str:
    alone = len({other.shots for other in panels if other.backbone == panel.backbone}) == 1
    amount = "" if alone and panel.shots is None else f", {describe_shots(panel.shots)}"
    return f"{backbones[panel.backbone]}{amount}{panel.by_metric}"


def _tag(backbone: str, amount: int | None, index: int) -> str:
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in backbone).strip("-").lower()[:40] or "backbone"
    return f"{index + 1}-{plain}" + ("" if amount is None else f"-{amount}-rows")


def _undrawn(panel: Panel) -> str:
    """The costs that are not plotted, and why."""
    if not any(panel.height(entry) is not None for entry in panel.entries):
        return "Nothing is plotted, since no method has a score."
    left = [cost for cost in measures.plotted_costs(panel) if cost not in shown_costs(panel)]
    untrained = [cost for cost in left if cost.while_training and not any(map(measures.trains, panel.records))]
    left = [cost for cost in left if cost not in untrained]
    uneven = [cost.name for cost in left if cost.timed and panel.timing_mismatch]
    unknown = [cost.name for cost in left if not (cost.timed and panel.timing_mismatch)]
    texts = [f"Not plotted, since seconds cannot be compared here: {', '.join(uneven)}."] if uneven else []
    texts += [f"Not plotted, since no method with a score has a measurement: {', '.join(unknown)}."] if unknown else []
    texts += (
        [f"Not plotted, since no method trains: {', '.join(cost.name for cost in untrained)}."] if untrained else []
    )
    return " ".join(texts)


def shown_costs(panel: Panel) -> list[measures.Cost]:
    """The costs with at least one point to plot in this panel."""
    scored = [entry for entry in panel.entries if panel.height(entry) is not None]
    return [
        cost for cost in measures.plotted_costs(panel) if any(cost.median(panel, entry) is not None for entry in scored)
    ]
