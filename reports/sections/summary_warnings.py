"""What a reader of the terminal's summary must be careful about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.collapse import MARK
from tunefront.reports.compare.waiting import describe_waiting
from tunefront.reports.sections.cautions import comparison_warnings
from tunefront.reports.sections.findings import name_collapsed
from tunefront.reports.sections.summary_columns import TIED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.recipe_choice import Selection


def summary_warnings(
    panel_list: Sequence[Panel],
    titles: Sequence[str],
    selection: Selection,
    ok: Sequence[Record],
    names: Mapping[str, str],
) -> tuple[str, ...]:
    """The warnings, those about what has no meaning first. What the data may have wrong is not among them: a run says
    that before it starts. Skipped and failed cells are not either."""
    several = len(panel_list) > 1
    collapsed = (
        name_collapsed(panel, f"{title}: " if several else "") for panel, title in zip(panel_list, titles, strict=True)
    )
    return (
        *(f"{MARK} {text}" for text in collapsed if text),
        *_too_few_runs(panel_list, titles),
        *_without_intervals(panel_list, titles),
        *comparison_warnings(panel_list, titles, selection, ok, names),
        *filter(None, [describe_waiting([record for panel in panel_list for record in panel.records])]),
    )


def _too_few_runs(panel_list: Sequence[Panel], titles: Sequence[str]) -> list[str]:
    """The warning about panels whose methods were not run often enough to compare more than these checkpoints."""
    pairs = [pair for pair in zip(panel_list, titles, strict=True) if _has_too_few_runs(pair[0])]
    if not pairs:
        return []
    few = [panel for panel, _ in pairs]
    where = f" on {'; '.join(title for _, title in pairs)}" if len(few) < len(panel_list) else ""
    known = any(panel.evidence is not None for panel in few)
    about = f", so {TIED} and [ ] are about these checkpoints on other test rows" if known else ""
    draws = any(panel.shots is not None for panel in few)
    return [
        f"The runs{where} are too few to tell how much {'another draw of rows or ' if draws else ''}another seed "
        f"changes a score{about}. Add --{'draws' if draws else 'seeds'} 0,1,2."
    ]


def _without_intervals(panel_list: Sequence[Panel], titles: Sequence[str]) -> list[str]:
    """The warnings about methods of which it is not known how sure their differences are."""
    texts = []
    for panel, title in zip(panel_list, titles, strict=True):
        where = f" on {title}" if len(panel_list) > 1 else ""
        if len(panel.entries) > 1 and panel.evidence is None:
            texts.append(f"How sure the differences{where} are is not known: {panel.no_evidence}.")
        missing = {} if panel.evidence is None else panel.evidence.missing
        for reason, labels in group_by(missing, missing.__getitem__).items():
            texts.append(f"No interval{where} for {', '.join(labels)}: {reason}.")
    return texts


def _has_too_few_runs(panel: Panel) -> bool:
    if len(panel.entries) < 2:
        return False
    if panel.evidence is not None:
        return panel.evidence.estimate.checkpoints_only and not panel.evidence.rows_alone
    return all(len(entry.runs(task)) <= 1 for entry in panel.entries for task in panel.tasks)
