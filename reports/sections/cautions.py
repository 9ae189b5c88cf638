"""Warnings that a reader needs before trusting the numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import group_by, timing_filter
from tunefront.reports.compare.factors import cell_of, same_for_all_draws
from tunefront.reports.compare.waiting import describe_waiting
from tunefront.reports.costs.flops import MAX_DIFFERENCE, contradictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.recipe_choice import Selection


def list_warnings(
    panels: Sequence[Panel],
    titles: Sequence[str],
    selection: Selection,
    ok: Sequence[Record],
    rest: Sequence[Record],
    names: Mapping[str, str],
) -> list[str]:
    """The warnings: those of panels first, then of all `ok` records (chosen or not) and of skipped and failed ones
    (`rest`). `titles` belong to the panels, `names` are the tasks' short names."""
    texts = comparison_warnings(panels, titles, selection, ok, names)
    cut = sum((record.data.truncated_test or 0) > 0.05 * (record.data.n_test or 1) for record in ok)
    if cut:
        texts.append(f"In {units.plural(cut, 'run')} more than 5 % of the scored rows were truncated to max_length.")
    texts += [f"{text}." for text in dict.fromkeys(text for record in ok for text in record.data.warnings or ())]
    texts += filter(None, [describe_waiting(ok)])
    texts += _flops(ok)
    if rest:
        texts.append(f"{count_skipped_and_failed(rest)}; the reasons are below.".capitalize())
    return texts


def comparison_warnings(
    panels: Sequence[Panel],
    titles: Sequence[str],
    selection: Selection,
    ok: Sequence[Record],
    names: Mapping[str, str],
) -> list[str]:
    """The warnings about what is compared: tuning budgets, tasks, runs, prompts, recipes and scores that are missing or
    differ between methods."""
    texts = []
    for panel, title in zip(panels, titles, strict=True):
        where = f" on {title}" if len(panels) > 1 else ""
        texts += _coverage(panel, where, names)
    texts += _prompts(panels, titles, names)
    texts += _edges(selection)
    fewer = sorted({choice.label for choice in selection.choices if choice.incomplete})
    if fewer:
        texts.append(f"Trials with missing runs were excluded from the choice of recipes for {', '.join(fewer)}.")
    blank = sum(not units.finite(record.score) for record in ok)
    if blank:
        left_out = "is" if blank == 1 else "are"
        texts.append(f"{units.plural(blank, 'record has', 'records have')} no finite score and {left_out} left out.")
    return texts


def _edges(selection: Selection) -> list[str]:
    """The warnings about chosen values at an end of what was tried, one for each field and end."""
    at_edge = [(choice.label, edge) for choice in selection.choices for edge in choice.edges]
    texts = []
    for (name, highest), found in sorted(group_by(at_edge, lambda pair: (pair[1].name, pair[1].highest)).items()):
        by_label = group_by(found, lambda pair: pair[0])
        listed = [
            f"{label} ({', '.join(dict.fromkeys(edge.value for _, edge in pairs))})"
            for label, pairs in sorted(by_label.items())
        ]
        end, beyond = ("highest", "higher") if highest else ("lowest", "lower")
        texts.append(f"The best {name} is the {end} tried for {', '.join(listed)}: a {beyond} one may be better.")
    return texts


def _flops(ok: Sequence[Record]) -> list[str]:
    """The warning about counted and analytic FLOPs that differ."""
    ratios = contradictions(ok)
    if not ratios:
        return []
    listed = [
        f"{label} ({', '.join(f'{phase} {units.times(ratio)}' for phase, ratio in phases.items())})"
        for label, phases in ratios.items()
    ]
    return [
        f"Counted FLOPs differ from analytic FLOPs by more than {100 * MAX_DIFFERENCE:g} % for {'; '.join(listed)}: "
        "one of the two is wrong there."
    ]


def count_skipped_and_failed(rest: Sequence[Record]) -> str:
    """The numbers of skipped and failed cells in words."""
    skipped = sum(record.status == "skipped" for record in rest)
    failed = len(rest) - skipped
    parts = [units.plural(skipped, "cell was skipped", "cells were skipped")] if skipped else []
    parts += [units.plural(failed, "cell failed", "cells failed")] if failed else []
    return " and ".join(parts)


def _coverage(panel: Panel, where: str, names: Mapping[str, str]) -> list[str]:
    """Warnings about methods that differ in their tuning budget, tasks, runs or conditions of timing."""
    texts = []
    # Methods without training have nothing to tune; the sizes of a method may share its trials (a search budget).
    learning = [entry for entry in panel.entries if any(record.training.steps for record in entry.all)]
    families: Counter[str] = Counter()
    for entry in learning:
        families[entry.family] += entry.trials
    if len({entry.trials for entry in learning}) > 1 and len(set(families.values())) > 1:
        listed = ", ".join(f"{entry.label} {entry.trials}" for entry in learning)
        texts.append(f"Unequal tuning budget{where}: the number of recipes tried differs ({listed}).")
    partial = [entry.label for entry in panel.entries if entry.average(panel.tasks) is None]
    if partial:
        subject = "it has no average, and its costs are medians over the tasks that it ran on"
        if len(partial) > 1:
            subject = "they have no average, and their costs are medians over the tasks that they ran on"
        texts.append(f"Not every task has a score{where} for {', '.join(partial)}; {subject}.")
    runs = {len(entry.scores(task)) for entry in panel.entries for task in panel.tasks} - {0}
    if panel.few_shot:
        uneven = [names[task] for task in panel.tasks if _uneven(panel, task)]
        if uneven:
            texts.append(
                f"On {', '.join(uneven)}{where} the methods do not cover the same templates, draws and seeds: their "
                "means are over different prompts or rows."
                + ("" if _independent(panel) else " Differences use only runs that all methods share.")
            )
    elif len(runs) > 1:
        texts.append(f"The number of runs differs between methods or tasks{where} ({min(runs)} to {max(runs)}).")
    if panel.timing_mismatch:
        texts.append(
            f"Seconds{where} were measured under different conditions and are left out: {panel.timing_mismatch}. A "
            f"report with {timing_filter(panel.records)} shows those of one kind."
        )
    return texts


def _independent(panel: Panel) -> bool:
    """Whether the methods are compared as independent samples, with all their runs."""
    return panel.evidence is not None and not panel.evidence.estimate.shared_runs


def _uneven(panel: Panel, task: str) -> bool:
    """Whether the methods with scores on a task that use training rows have them in different cells."""
    runs = ([run for run in entry.runs(task) if not same_for_all_draws(run)] for entry in panel.entries)
    return len({frozenset(map(cell_of, records)) for records in runs if records}) > 1


def _prompts(panels: Sequence[Panel], titles: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Warnings about prompts with fewer demonstrations than the method's name says, because they did not fit."""
    texts = []
    for label in dict.fromkeys(entry.label for panel in panels for entry in panel.entries):
        prompted: list[tuple[str, Record]] = []
        for panel, title in zip(panels, titles, strict=True):
            records = (record for entry in panel.entries if entry.label == label for record in entry.all)
            prompted += [(title, record) for record in records if record.prompt.demonstration_ids]
        none = [(title, record) for title, record in prompted if record.prompt.demonstrations_per_row == 0]
        some = [
            (title, record)
            for title, record in prompted
            if record.prompt.shortened_test and record.prompt.demonstrations_per_row
        ]
        if none:
            texts.append(
                f"{label} is effectively zero-shot in {len(none)} of {units.plural(len(prompted), 'run')}: no "
                f"demonstration fits into any prompt ({_list_places(none, len(panels) > 1, names)})."
            )
        if some:
            texts.append(
                f"Prompts of {label} lost demonstrations that did not fit in {len(some)} of "
                f"{units.plural(len(prompted), 'run')} ({_list_places(some, len(panels) > 1, names)})."
            )
    return texts


def _list_places(runs: Sequence[tuple[str, Record]], several: bool, names: Mapping[str, str]) -> str:
    """The panels if there are several, else the tasks, each with its number of runs."""
    groups = group_by(runs, lambda pair: pair[0] if several else names[pair[1].task])
    return "; ".join(f"{where} {'in ' if several else ''}{len(group)}" for where, group in groups.items())
