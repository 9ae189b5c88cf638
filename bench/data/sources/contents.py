"""The bytes of a file, and the text in them: ordinary files only, gzip unpacked, encodings told apart by what is there.

What a file is comes from its first bytes, not its name: a pointer of Git LFS, a web page or a workbook that bears the
name of a table is called what it is, with the way to the data.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from shlex import quote
from typing import IO, TYPE_CHECKING

from tunefront.bench.data.sources.limits import Unreadable
from tunefront.bench.files import NotOrdinary, open_ordinary

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.data.sources.limits import Budget

_CHUNK_BYTES = 2**20
_HEAD_BYTES = 4096
_FOREIGN_SHARE = 0.3
"""Of all letters: more of them beyond ASCII than any Western European language has mean another encoding."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_KINDS = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the data; fetch the data in that checkout: git lfs pull"),
    (rb"# xet version|version https://xet", "a pointer of Xet, not the data; fetch the data by hf download"),
    (rb"(?i)\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b",
     "a web page (HTML), not data; download the file itself, by the link named raw or download"),
    (rb"(?i)\s*<\?xml|\s*<error>", "XML; convert it to CSV or JSON Lines"),
    (rb"PK(\x03\x04|\x05\x06).{0,4000}?(\[Content_Types\]|xl/|_rels)", "an Excel workbook; save it as CSV UTF-8"),
    (rb"PK(\x03\x04|\x05\x06)", "a zip archive; unpack it into the folder: python -m zipfile -e {file} {folder}"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook; save it as CSV UTF-8"),
    (rb"PAR1|PARE", "Parquet; name it .parquet"),
    (rb"ARROW1|\xff\xff\xff\xff....\x10\x00\x00\x00", "an Arrow file; name it .arrow"),
    (rb"\x1f\x8b", "compressed by gzip; add .gz to its name"),
    (rb"BZh[1-9]1AY&SY", "compressed by bzip2; unpack a copy: bzip2 -dk {file}"),
    (rb"\xfd7zXZ\x00", "compressed by xz; unpack a copy: xz -dk {file}"),
    (rb"\x28\xb5\x2f\xfd", "compressed by zstd; unpack a copy: zstd -dk {file}"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it: 7z x {file}"),
    (rb"Rar!\x1a", "a rar archive; unpack it: unrar x {file}"),
    (rb".{257}ustar", "a tar archive; unpack it: tar -xf {file}"),
    (rb"\x80[\x02-\x05][c}\](\x95\x8cXKM]", "a pickle, which can run code and is never read; save the rows as Parquet"),
    (rb"%PDF-", "a PDF; the rows are needed as CSV, JSON Lines or Parquet"),
    (rb"SQLite format 3\x00", "an SQLite database; export the table as CSV"),
    (rb"\x89HDF\r\n", "an HDF5 file; save the table as Parquet or CSV"),
    (rb"\x93NUMPY", "a NumPy array; save the rows as CSV"),
)  # fmt: skip
"""(pattern at the start, what the file is and what to do)."""


def open_file(file: Path) -> IO[bytes]:
    """The file, opened for reading; a FIFO or a device, which could be waited for without end, is refused.

    Errors: Unreadable.
    """
    try:
        return open_ordinary(file)
    except NotOrdinary as error:
        raise Unreadable(f"{file} is {error.strerror}, no ordinary file; put the rows themselves there.") from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"{file} cannot be read: {reason(error)}.") from None


def read_bytes(file: Path, budget: Budget) -> bytes:
    """All bytes of a text file, unpacked where its name ends in .gz; never more than the budget has left.

    Errors: Unreadable, also where the first bytes are those of something that is no text.
    """
    with open_file(file) as raw:
        head = raw.read(_HEAD_BYTES)
        packed = file.suffix.lower() == ".gz" and head.startswith(b"\x1f\x8b")
        if not packed:
            check_kind(file, head, "text")
        try:
            size = os.fstat(raw.fileno()).st_size
            budget.check(file, size)
            if packed and size >= 18:  # the least that gzip writes; it ends with the size of what was packed
                raw.seek(-4, os.SEEK_END)
                budget.check(file, int.from_bytes(raw.read(4), "little"))
            raw.seek(0)
            bounded = bool(size) and not packed
            stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            data = raw.read() if bounded else _all(file, stream, budget)
        except (OSError, EOFError, zlib.error) as error:
            cure = "; it is cut off or damaged: fetch it again" if packed else ""
            raise Unreadable(f"{file} cannot be read: {reason(error)}{cure}.") from None
    if packed:
        check_kind(file, data[:_HEAD_BYTES], "text")
    return data


def check_kind(file: Path, head: bytes, expected: str) -> None:
    """Errors: Unreadable where the first bytes say that the file is something else than its name says."""
    for pattern, kind in _KINDS:
        if re.match(pattern, head, re.DOTALL):
            told = kind.replace("{file}", quote(str(file))).replace("{folder}", quote(str(file.parent)))
            raise Unreadable(f"{file} is not {expected}: it is {told}.")


def decode(file: Path, data: bytes, notes: list[str]) -> tuple[str, str]:
    """(the text, the encoding that all of `data` is in, which is noted where it is not UTF-8).

    UTF-8, with or without a mark; UTF-16 and UTF-32 by their mark, or by where their zeros stand; Windows-1252 where
    nothing is UTF-8 beyond ASCII and most letters are ASCII. Errors: Unreadable for anything else, and for NUL bytes.
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None) or _unmarked(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding not in ("utf-8", "utf-8-sig"):
            raise Unreadable(f"{file} starts as {encoding.upper()} but does not go on so ({error}).") from None
        encoding, text = "cp1252", _western(file, data, error)
        shown = next(letter for letter in text if not letter.isascii())
        line = text[: text.index(shown)].count("\n") + 1
        notes.append(f"not UTF-8, read as Windows-1252: line {line} has {shown!r}; save as UTF-8 if that is wrong")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Unreadable(
            f"{file}, line {line}: a NUL byte, which no text has; the file is damaged or binary. Write it again."
        )
    if encoding.startswith(("utf-16", "utf-32")):
        notes.append(f"read as {encoding.upper()}")
    return text, encoding


def reason(error: Exception) -> str:
    """What went wrong, without the file's name."""
    return str(getattr(error, "strerror", None) or error).split("\n")[0]


def _all(file: Path, stream: IO[bytes], budget: Budget) -> bytes:
    chunks, size = [], 0
    while chunk := stream.read(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        budget.check(file, size)
    return b"".join(chunks)


def _unmarked(data: bytes) -> str:
    head = data[:_HEAD_BYTES]
    half = len(head) // 2
    for name, zeros, letters in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if half > 1 and len(data) % 2 == 0 and zeros.count(0) > 0.4 * half and letters.count(0) == 0:
            return name
    return "utf-8"


def _western(file: Path, data: bytes, error: UnicodeDecodeError) -> str:
    line = data[: error.start].count(b"\n") + 1
    found = f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8"
    lenient = data.decode("utf-8", "surrogateescape")
    if any(not letter.isascii() and not "\udc80" <= letter <= "\udcff" for letter in set(lenient)):
        raise Unreadable(
            f"{found}, but other letters of the file are: it is damaged or of two encodings. Mend the line."
        )
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    if not text or _foreign(text) > _FOREIGN_SHARE:
        new = file.with_name(f"utf8-{file.name}")
        raise Unreadable(
            f"{found}, nor does the file seem to be Western European text. Find out its encoding and write a copy: "
            f"iconv -f ENCODING -t UTF-8 {quote(str(file))} > {quote(str(new))}; look at the copy, then use it instead."
        )
    return text


def _foreign(text: str) -> float:
    beyond = sum(1 for letter in text if not letter.isascii())
    return beyond / max(1, beyond + sum(1 for letter in text if letter.isascii() and letter.isalpha()))
