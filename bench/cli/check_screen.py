"""The screen of `tunefront check`: about 50 lines of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from tunefront.bench.cli.console import WIDEST, paragraph, print_item, print_plain
from tunefront.bench.data.reading import count, listed
from tunefront.bench.errors import printable

if TYPE_CHECKING:
    from tunefront.bench.check.findings import Check, Column, Finding, Label, Lengths

_COLUMNS, _LABELS, _FINDINGS = 9, 8, 12
"""Columns, labels and findings that are shown; of more, the rest is counted."""
_BAR, _SCALE = 8, 24
"""Characters of the widest bar of labels, and of lengths."""
_NAME = 24
"""Characters of a name in a table."""


def show(check: Check, console: RichConsole, next_command: str) -> None:
    """Prints a check; `next_command` runs what was read."""
    width = min(console.width, WIDEST)
    print_plain(console, f"{check.name}", "bold")
    print_item(console, _what(check), indent="")
    _print_table(console, _column_table(check.columns, width), "Columns")
    if check.values is None:
        what = "Answers" if check.kind == "multiple choice" else "Labels"
        _print_table(console, _label_table(check, width), f"{what} of train")
    else:
        _print_values(console, check)
    _print_lengths(console, check.lengths)
    _heading(console, "What is odd")
    for finding in check.findings[:_FINDINGS]:
        _print_finding(console, finding)
    if len(check.findings) > _FINDINGS:
        print_plain(console, f"  and {count(len(check.findings) - _FINDINGS, 'more finding')}, see --json", "dim")
    if not check.findings:
        print_plain(console, "  nothing", "green")
    _heading(console, "Without adaptation, and what can be seen")
    for line in (*_baseline_lines(check), _power_line(check)):
        print_item(console, line)
    print_item(console, _looked_at(check), style="dim", indent="")
    paragraph(console, Text.assemble("Next: ", (printable(next_command), "bold")))


def _looked_at(check: Check) -> str:
    columns = f"columns in {check.looked_at['columns']:,}, " if check.looked_at["columns"] else ""
    peak = "" if check.peak_memory_bytes is None else f" and {check.peak_memory_bytes / 1e9:.1f} GB of memory"
    return (
        f"Texts and labels: all rows. Sampled: {columns}languages in {check.looked_at['languages']:,}, lengths in "
        f"{check.looked_at['lengths']:,}. It took {check.seconds:.0f} s{peak}."
    )


def _what(check: Check) -> str:
    rows = listed([f"{number:,} {split}" for split, number in check.rows.items()])
    kind = check.kind if check.kind != "classification" else f"{len(check.labels):,}-class classification"
    notes = [note for note in check.notes if not note.startswith(("guessed:", check.kind))]
    pairs = sum(column.read_as == "text" for column in check.columns) == 2
    said = "".join(f" {_sentence(note)}" for note in notes)
    guessed = listed([f"--{option}" for option in check.guessed])
    mended = f" Guessed; {guessed} {'says' if len(check.guessed) == 1 else 'say'} otherwise." if guessed else ""
    return (
        f"{rows} rows: {kind}{' of pairs of texts' if pairs else ''}, scored by {check.metric} on {check.scored}."
        f"{said}{mended}"
    )


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


def _heading(console: RichConsole, text: str) -> None:
    console.print()
    console.print(Text(text, "bold"))


def _print_table(console: RichConsole, table: Table, title: str) -> None:
    _heading(console, title)
    console.print(table)


def _table(*columns: tuple[str, bool], width: int) -> Table:
    """A table without lines; each column is (title, whether its texts may be cut)."""
    table = Table(box=None, pad_edge=False, header_style="dim", width=width, padding=(0, 2, 0, 0))
    table.add_column("", width=0)
    for title, cut in columns:
        right = title in ("rows", "share")
        table.add_column(
            title,
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if cut else None,
            justify="right" if right else "left",
        )
    return table


def _text(value: str, style: str = "") -> Text:
    return Text(printable(value, single_line=True), style)


def _column_table(columns: Sequence[Column], width: int) -> Table:
    table = _table(("name", False), ("read as", False), ("why", False), ("example", True), width=width)
    for column in columns if len(columns) <= _COLUMNS else _grouped(columns):
        style = "dim" if column.read_as == "left out" else ""
        filled = column.filled is not None and column.filled < 0.995
        why = [column.why, f"{100 * (column.filled or 0):.0f} % filled" if filled else ""]
        table.add_row(
            "",
            _cut(column.name, style),
            _text(column.read_as, style or "cyan"),
            _cut(", ".join(filter(None, why)), "dim", 30),
            _text(column.example, "dim"),
        )
    return table


def _grouped(columns: Sequence[Column]) -> list[Column]:
    """Many columns: the first ones that are read, and those that are left out in one line for each reason."""
    read = [column for column in columns if column.read_as != "left out"]
    left_out: dict[str, list[Column]] = {}
    for column in columns:
        if column.read_as == "left out":
            left_out.setdefault(column.why, []).append(column)
    groups = [read[_COLUMNS:], *left_out.values()]
    return [*read[:_COLUMNS], *(_joined(group) for group in groups[:_COLUMNS] if group)]


def _joined(columns: Sequence[Column]) -> Column:
    first = columns[0]
    if len(columns) == 1:
        return first
    return replace(first, name=f"{first.name[:10]} and {len(columns) - 1:,} more", filled=None, example="")


def _cut(value: str, style: str = "", longest: int = _NAME) -> Text:
    text = printable(value, single_line=True)
    return Text(text if len(text) <= longest else f"{text[: longest - 1]}…", style)


def _label_table(check: Check, width: int) -> Table:
    table = _table(("name", False), ("rows", False), ("share", False), ("", False), ("example", True), width=width)
    labels = list(check.labels)
    if len(labels) > _LABELS:
        labels.sort(key=lambda label: -label.share)
    most = max((label.share for label in labels), default=0) or 1
    for label in _ends(labels):
        if label is None:
            rest = labels[_LABELS // 2 : -_LABELS // 2]
            table.add_row("", _text(f"{len(rest):,} more between", "dim"), _text(f"{_between(rest)}", "dim"))
            continue
        table.add_row(
            "",
            _cut(label.name),
            Text(f"{label.rows['train']:,}"),
            Text(_percent(label.share)),
            Text(_bar(label.share / most, _BAR), "cyan"),
            _text(label.example, "dim"),
        )
    return table


def _ends(labels: Sequence[Label]) -> Iterator[Label | None]:
    """All labels, or the first and the last ones with None between."""
    if len(labels) <= _LABELS:
        yield from labels
        return
    yield from labels[: _LABELS // 2]
    yield None
    yield from labels[-_LABELS // 2 :]


def _between(labels: Sequence[Label]) -> str:
    rows = [label.rows["train"] for label in labels]
    return f"{min(rows):,}" if min(rows) == max(rows) else f"{min(rows):,} to {max(rows):,}"


def _bar(share: float, width: int) -> str:
    """A bar of eighths of characters, at least a thin line for a share above 0."""
    eighths = max(round(8 * width * share), 1 if share > 0 else 0)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def _print_values(console: RichConsole, check: Check) -> None:
    assert check.values is not None  # a regression has values
    values = check.values
    _heading(console, "Values of train")
    print_plain(
        console,
        f"  from {values.least:g} to {values.largest:g}, median {values.median:g}, mean {values.mean:.3g}",
    )
    for value, example in zip((values.least, values.largest), values.examples, strict=True):
        line = Text.assemble(f"  {value:<8g} ", (printable(example, single_line=True), "dim"))
        line.truncate(min(console.width, WIDEST), overflow="ellipsis")
        console.print(line)


def _print_lengths(console: RichConsole, lengths: Lengths) -> None:
    room = "" if lengths.room is None else f", which reads {lengths.room:,}"
    unit = f"tokens of {lengths.backbone}{room}" if lengths.backbone else "words, as there is no backbone for it here"
    _heading(console, f"Lengths in {printable(unit)}")
    most = max(rows for _, rows in lengths.bins)
    uppers = [upper for upper, _ in lengths.bins]
    ranges = [f"{lower + 1:,} to {upper:,}" if lower else f"up to {upper:,}" for lower, upper in pairwise([0, *uppers])]
    width = max(map(len, ranges))
    for (upper, rows), label in zip(lengths.bins, ranges, strict=True):
        beyond = lengths.room is not None and upper > lengths.room
        share = _percent(rows / lengths.rows)
        bar = _bar(rows / most, _SCALE), "red" if beyond else "cyan"
        console.print(Text.assemble(f"  {label:>{width}}  {share:>6}  ", bar))
    ends = f"median {lengths.median:,}, 95 % up to {lengths.p95:,}, longest {lengths.longest:,}"
    print_item(console, f"{ends}; {_cuts(lengths)}")


def _cuts(lengths: Lengths) -> str:
    cuts = [f"{100 * share:.2g} % at {length:,}" for length, share in lengths.cut.items() if 0 < share < 0.995]
    if lengths.room and lengths.cut[lengths.room] >= 0.995:
        return f"nearly all would be cut at {lengths.room:,}"
    if not cuts:
        return "none would be cut" if lengths.room else "none is longer than 32"
    return f"cut would be {', '.join(cuts)}"


def _print_finding(console: RichConsole, finding: Finding) -> None:
    mark, style = ("!", "bold yellow") if finding.level == "warning" else ("·", "dim")
    print_item(console, f"{_sentence(finding.text.rstrip('.'))} {finding.remedy}".rstrip(), mark, style)


def _baseline_lines(check: Check) -> list[str]:
    baseline = check.baseline
    what = "answer" if check.kind == "multiple choice" else "label"
    lines = [] if baseline.majority is None else [f"Commonest {what}: {baseline.metric} {baseline.majority:.3f}"]
    if baseline.linear is None:
        return [*lines, f"No linear baseline: {baseline.why_not or 'its score is undefined'}"]
    margin = "" if baseline.margin is None else f" ± {baseline.margin:.3f}"
    return [
        *lines,
        f"Linear on frozen {baseline.backbone} features: {baseline.metric} {baseline.linear:.3f}{margin} "
        f"({baseline.train_rows:,} train and {baseline.test_rows:,} {check.scored} rows of at most "
        f"{baseline.max_length} tokens, {baseline.seconds:.0f} s)",
    ]


def _power_line(check: Check) -> str:
    power = check.power
    if power.measure == "pearson":
        what = f"{power.difference:g} in Pearson's correlation"
        assumed = f"both correlate with the labels by {power.assumed:.2f}"
        visible = f"show {power.visible:.3f}" if power.visible is not None else "show none"
    else:
        what = f"{100 * power.difference:g} points of accuracy"
        assumed = f"they disagree on {100 * power.assumed:.0f} % of the rows"
        visible = f"show {100 * power.visible:.1f} points" if power.visible is not None else "show none"
    needed = "more rows than any" if power.rows is None else f"{power.rows:,} {check.scored} rows"
    return (
        f"A difference of {what} between two trained models takes {needed} to be seen (80 % power, if {assumed}); the "
        f"{power.test_rows:,} that there are {visible}. Seeds add to it: train each method several times."
    )


def _percent(share: float) -> str:
    """A share in percent; 0 and 100 only if it is exactly that.

    >>> _percent(1.0), _percent(400 / 402), _percent(0.9999), _percent(0.42), _percent(0.012), _percent(0.0)
    ('100 %', '99.5 %', '99.9 %', '42 %', '1.2 %', '0 %')
    """
    if share in (0, 1) or 0.1 <= share < 0.995:
        return f"{100 * share:.0f} %"
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"
