"""Reads Excel workbooks with openpyxl: the values of the first sheet that has rows; formulas are never computed."""

from __future__ import annotations

import datetime
import warnings
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

from tunefront.bench.data.sources.contents import check_kind, open_file, reason
from tunefront.bench.data.sources.headers import has_header, named_columns, without_header
from tunefront.bench.data.sources.limits import Unreadable
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tunefront.bench.data.sources.limits import Budget
    from tunefront.bench.data.sources.tables import Layout, Record

_HEAD_BYTES = 4096
_FAILURES = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, zipfile.BadZipFile, SyntaxError)
"""Exceptions raised by reading a damaged workbook; a ParseError of its XML is a SyntaxError."""


def read_excel(
    file: Path, budget: Budget, notes: list[str], layout: Layout
) -> tuple[list[str], list[Record], list[str]]:
    """(columns, records, places). Errors: Unreadable; UserError if openpyxl is not installed."""
    try:
        import openpyxl
    except ImportError:
        raise UserError(
            f"{file} is an Excel workbook, and openpyxl is not installed; install it with: "
            "pip install 'tunefront[excel]', or save the workbook as CSV UTF-8."
        ) from None
    with open_file(file) as raw, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parts of a workbook that are no values
        head = raw.read(_HEAD_BYTES)
        if not head.startswith(b"PK") or b"opendocument" in head:
            check_kind(file, head, "an Excel workbook (.xlsx)")
        raw.seek(0)
        try:
            with zipfile.ZipFile(raw) as archive:
                budget.check(file, sum(entry.file_size for entry in archive.infolist()))
            raw.seek(0)
            book = openpyxl.load_workbook(raw, read_only=True, data_only=True, keep_links=False)
            sheets = ((sheet.title, list(_rows(file, sheet, budget))) for sheet in book.worksheets)
            title, rows = next(((title, rows) for title, rows in sheets if rows), ("", []))
            others = [sheet.title for sheet in book.worksheets if sheet.title != title]
        except _FAILURES as error:
            raise Unreadable(
                f"{file} cannot be read as an Excel workbook ({reason(error)[:300]}); save it again, or as CSV UTF-8."
            ) from None
    if title and others:
        notes.append(f"sheet {title!r} is read, not {', '.join(map(repr, others[:5]))}")
    width = max((len(values) for _, values in rows), default=0)
    cells = [(number, [*values, *[None] * (width - len(values))]) for number, values in rows]
    first = cells[0][1] if cells else []
    if layout.header or (layout.header is None and has_header(first, [values for _, values in cells[1:]])):
        columns, cells = named_columns(["" if cell is None else str(cell) for cell in first]), cells[1:]
    else:
        columns = without_header(width, notes)
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise Unreadable(f"{file}: column {twice[0]!r} occurs twice in the header; rename one of them.")
    records: list[Record] = [dict(zip(columns, values, strict=True)) for _, values in cells]
    return columns, records, [f"{file}, row {number}" for number, _ in cells]


def _rows(file: Path, sheet: Any, budget: Budget) -> Iterator[tuple[int, list[object]]]:  # Any: openpyxl has no types
    """(row number in the sheet, its values up to the last one) of the rows that have any."""
    sheet.reset_dimensions()  # the stated size may be wrong
    for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
        values = [_plain(value) for value in cells]
        while values and values[-1] in (None, ""):
            values.pop()
        texts = sum(len(value) for value in values if isinstance(value, str))
        budget.spend(file, 2 * texts, len(cells))
        if values:
            yield number, values


def _plain(value: object) -> object:
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
