"""Reads the bytes and the text of a file: regular files only, with gzip and the usual text encodings.

The kind of a file is detected from its first bytes, not its name: the error for a Git LFS pointer, a web page or a
workbook named like a table says what it is and how to get the data.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import re
import zipfile
import zlib
from shlex import quote
from typing import IO, TYPE_CHECKING, Any

from tunefront.bench.data.sources.limits import Unreadable
from tunefront.bench.files import NotOrdinary, open_ordinary

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.data.sources.limits import Budget

MAGIC = {
    ".gz": b"\x1f\x8b",
    ".bz2": b"BZh",
    ".xz": b"\xfd7zXZ\x00",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".zip": b"PK\x03\x04",
}
"""Suffixes of compressed files, and their first bytes."""
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)
"""Exceptions raised by unpacking a damaged, encrypted or unsupported file."""
_CHUNK_BYTES = 2**20
_HEAD_BYTES = 4096
_FOREIGN_SHARE = 0.3
"""Share of non-ASCII letters that no Western European language reaches: the encoding must be another."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OLD_EXCEL = (
    "an old Excel workbook (.xls), or one with a password; open it and save it as .xlsx (for --data) or CSV UTF-8, or "
    "convert it: libreoffice --convert-to xlsx {file}"
)
"""What an OLE file most probably is. It is not read: xlrd, the reader of .xls, cannot be held to the memory that other
files may take, and few files of this format are left."""
_KINDS = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the data; download it in that checkout: git lfs pull"),
    (rb"# xet version|version https://xet", "a pointer of Xet, not the data; download it with hf download"),
    (rb"(?i)\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b",
     "a web page (HTML), not data; download the file itself from the link named raw or download"),
    (rb"(?i)\s*<\?xml|\s*<error>", "XML; convert it to CSV or JSON Lines"),
    (rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis", "an OpenDocument file; save the sheet as .xlsx or CSV UTF-8"),
    (rb"PK(\x03\x04|\x05\x06).{0,4000}?(\[Content_Types\]|xl/|_rels)", "an Excel workbook; save it as CSV UTF-8"),
    (rb"PK(\x03\x04|\x05\x06)", "a zip archive; unpack it into the folder: python -m zipfile -e {file} {folder}"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLD_EXCEL),
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
"""(pattern at the start, kind of the file and what to do)."""


def open_file(file: Path) -> IO[bytes]:
    """Opens the file for reading; a FIFO or a device, on which reading could block for ever, is refused.

    Errors: Unreadable.
    """
    try:
        return open_ordinary(file)
    except NotOrdinary as error:
        raise Unreadable(f"{file} is {error.strerror}, not a regular file; put the rows themselves there.") from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"{file} cannot be read: {reason(error)}.") from None


def read_bytes(file: Path, budget: Budget) -> bytes:
    """All bytes of a text file, unpacked if its name says that it is compressed; never more than the budget has left.

    Errors: Unreadable, also if the first bytes show that the file is no text.
    """
    with open_file(file) as raw:
        head = raw.read(_HEAD_BYTES)
        suffix = file.suffix.lower()
        packed = suffix in MAGIC and head.startswith(MAGIC[suffix])
        if not packed:
            check_kind(file, head, "text")
        try:
            size = os.fstat(raw.fileno()).st_size
            budget.check(file, size)
            if packed and suffix == ".gz" and size >= 18:  # the smallest gzip file; its last bytes: the unpacked size
                raw.seek(-4, os.SEEK_END)
                budget.check(file, int.from_bytes(raw.read(4), "little"))
            raw.seek(0)
            bounded = bool(size) and not packed
            data = raw.read() if bounded else _all(file, _unpacked(file, raw, suffix) if packed else raw, budget)
        except _DAMAGED as error:
            cure = "; it is truncated or damaged: download it again" if packed else ""
            raise Unreadable(f"{file} cannot be read: {reason(error)}{cure}.") from None
    if packed:
        check_kind(file, data[:_HEAD_BYTES], "text")
    return data


def _unpacked(file: Path, raw: IO[bytes], suffix: str) -> IO[bytes]:
    """The content of a compressed file; of a zip archive its only file. Errors: Unreadable."""
    stream: Any  # each module has a class of its own
    if suffix == ".zip":
        archive = zipfile.ZipFile(raw)
        inside = [entry for entry in archive.namelist() if not entry.endswith("/") and "__MACOSX/" not in entry]
        if len(inside) != 1:
            raise Unreadable(
                f"{file} holds {len(inside)} files ({', '.join(inside[:5])}); unpack it and name one of them: "
                f"python -m zipfile -e {quote(str(file))} {quote(str(file.parent))}"
            )
        stream = archive.open(inside[0])
    elif suffix == ".zst":
        import pyarrow

        stream = pyarrow.CompressedInputStream(raw, "zstd")
    else:
        unpack: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[suffix]
        stream = unpack(raw)
    return stream


def check_kind(file: Path, head: bytes, expected: str) -> None:
    """Errors: Unreadable if the first bytes contradict the file's name."""
    for pattern, kind in _KINDS:
        if re.match(pattern, head, re.DOTALL):
            actual = kind.replace("{file}", quote(str(file))).replace("{folder}", quote(str(file.parent)))
            raise Unreadable(f"{file} is not {expected}: it is {actual}.")


def decode(file: Path, data: bytes, notes: list[str]) -> tuple[str, str]:
    """(text, encoding); an encoding other than UTF-8 is noted.

    UTF-8, with or without a BOM; UTF-16 and UTF-32 by their BOM or the positions of zeros; Windows-1252 if nothing
    beyond ASCII is UTF-8 and most letters are ASCII. Errors: Unreadable for anything else, and for NUL bytes.
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None) or _unmarked(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding not in ("utf-8", "utf-8-sig"):
            raise Unreadable(
                f"{file} starts as {encoding.upper()} but is not valid {encoding.upper()} ({error})."
            ) from None
        encoding, text = "cp1252", _western(file, data, error)
        shown = next(letter for letter in text if not letter.isascii())
        line = text[: text.index(shown)].count("\n") + 1
        notes.append(f"not UTF-8, read as Windows-1252: line {line} has {shown!r}; save as UTF-8 if that is wrong")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Unreadable(
            f"{file}, line {line}: a NUL byte, which text cannot have; the file is damaged or binary; write it again."
        )
    if encoding.startswith(("utf-16", "utf-32")):
        notes.append(f"read as {encoding.upper()}")
    return text, encoding


def reason(error: Exception) -> str:
    """The error's text without the file's name."""
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
    invalid = f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8"
    lenient = data.decode("utf-8", "surrogateescape")
    if any(not letter.isascii() and not "\udc80" <= letter <= "\udcff" for letter in set(lenient)):
        raise Unreadable(
            f"{invalid}, but other letters of the file are: it is damaged or mixes two encodings. Fix the line."
        )
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    if not text or _foreign(text) > _FOREIGN_SHARE:
        new = file.with_name(f"utf8-{file.name}")
        raise Unreadable(
            f"{invalid}, and the file is not Western European text either. Find its encoding and write a copy: "
            f"iconv -f ENCODING -t UTF-8 {quote(str(file))} > {quote(str(new))}; check the copy, then use it instead."
        )
    return text


def _foreign(text: str) -> float:
    beyond = sum(1 for letter in text if not letter.isascii())
    return beyond / max(1, beyond + sum(1 for letter in text if letter.isascii() and letter.isalpha()))
