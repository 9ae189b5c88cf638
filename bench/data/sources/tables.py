"""One file of rows: JSON Lines, CSV or Parquet; what cannot be read is noted with its place and what to do."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.bench.errors import Mistakes

if TYPE_CHECKING:
    from pathlib import Path

Record = dict[str, object]
FORMATS = (".jsonl", ".csv", ".parquet")
_NAMED_AT_ONCE = 3


@dataclass
class Problems:
    """What is wrong, gathered so that all of it is reported together; the first three of a sort."""

    found: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def add(self, text: str, *sort: str) -> None:
        """Note a problem; those of one sort, such as a file and a kind of mistake, are reported at most three times."""
        self.found.setdefault(sort or (text,), []).append(text)

    def raise_any(self) -> None:
        """Mistakes where anything was noted."""
        shown = [
            text
            for (where, *_), texts in self.found.items()
            for text in [*texts[:_NAMED_AT_ONCE], *_rest(where, len(texts))]
        ]
        if shown:
            raise Mistakes(shown)


@dataclass(frozen=True)
class Table:
    """The rows of one file: its columns in order, a record for each row, and the place of each to name in messages."""

    file: Path
    columns: tuple[str, ...]
    records: list[Record]
    places: list[str]

    @property
    def typed(self) -> bool:
        """Whether values have types; in CSV all are text."""
        return self.file.suffix != ".csv"


def read_table(file: Path, problems: Problems) -> Table | None:
    """The file's rows; None, with the reason noted, where there are none to go on with."""
    known = len(problems.found)
    table = _parquet(file, problems) if file.suffix == ".parquet" else _text(file, problems)
    if table is not None and not table.records and len(problems.found) == known:
        problems.add(f"{file} has no rows; put at least one in, or delete the file.")
    return table if table is not None and table.records else None


def _text(file: Path, problems: Problems) -> Table | None:
    try:
        data = file.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        problems.add(f"{file} cannot be read: {error.strerror or error}.")
        return None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.add(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8, "
            f"for example: iconv -f latin1 -t utf-8 {file.name} > new && mv new {file.name}"
        )
        return None
    return (_csv if file.suffix == ".csv" else _jsonl)(file, text, problems)


def _jsonl(file: Path, text: str, problems: Problems) -> Table:
    records: list[Record] = []
    places = []
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{file}, line {number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if "\\ud" in line.lower():
                json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            problems.add(f"{place}: {half} is half of a character; write both halves or none.", str(file), "json")
            continue
        except RecursionError:
            problems.add(f"{place}: nested too deeply; each line holds one flat JSON object.", str(file), "json")
            continue
        except ValueError as error:
            problems.add(f"{place}: not valid JSON ({error}); each line holds one JSON object.", str(file), "json")
            continue
        if isinstance(record, dict):
            records.append(record)
            places.append(place)
        else:
            kind = type(record).__name__
            problems.add(f"{place}: a JSON object was expected, a {kind} was found.", str(file), "json")
    columns = dict.fromkeys(name for record in records for name in record)
    return Table(file, tuple(columns), records, places)


def _csv(file: Path, text: str, problems: Problems) -> Table | None:
    records: list[Record] = []
    places = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    limit = csv.field_size_limit()
    csv.field_size_limit(max(limit, len(text)))  # the module's own limit, of 131,072 characters, is the process's
    try:
        columns = next(reader, [])
        twice = [name for name, count in Counter(columns).items() if count > 1]
        if twice:
            problems.add(f"{file}: column {twice[0]!r} occurs twice in the header; rename one of them.")
            return None
        other = next((mark for mark in ";\t|" if len(columns) == 1 and mark in columns[0]), None)
        if other:
            problems.add(f"{file}: columns seem to be separated by {other!r}; separate them by commas.")
            return None
        for number, values in enumerate(reader, 1):
            place = f"{file}, row {number}"
            if len(values) == len(columns):
                records.append(dict(zip(columns, values, strict=True)))
                places.append(place)
            elif values:
                counts = f"{len(values)} values for {len(columns)} columns"
                problems.add(f"{place}: {counts}; put text with commas in double quotes.", str(file), "csv")
    except csv.Error as error:
        problems.add(f"{file}, line {reader.line_num}: not valid CSV ({error}); double the quotes inside quoted text.")
        return None
    finally:
        csv.field_size_limit(limit)
    return Table(file, tuple(columns), records, places)


def _parquet(file: Path, problems: Problems) -> Table | None:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).split("\n")[0]
        problems.add(f"{file} cannot be read as Parquet ({reason}); write it again, for example by pandas.")
        return None
    places = [f"{file}, row {number}" for number in range(1, table.num_rows + 1)]
    return Table(file, tuple(table.column_names), table.to_pylist(), places)


def _rest(where: str, count: int) -> list[str]:
    more = count - _NAMED_AT_ONCE
    return [f"{where}: {more} more such row{'s' if more > 1 else ''}."] if more > 0 else []
