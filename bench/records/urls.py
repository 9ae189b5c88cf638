"""Files below an fsspec URL, such as s3://bucket/results: listed, read many at a time, and written."""

from __future__ import annotations

import base64
import datetime
import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from tunefront.bench.errors import UserError
from tunefront.bench.files import local_folder, url_errors, without_slash

S = TypeVar("S")
T = TypeVar("T")
AT_ONCE = 256
"""Files that are requested together; their contents are in memory at the same time."""
CONNECTIONS = 64
"""Connections to S3 at the same time: botocore's 10 would make 10,000 records wait half a minute on latency alone."""
CONTACT_SECONDS = 30
"""Seconds in which S3 must answer for the first time; later requests are repeated for minutes."""
ATTEMPTS = 2
"""How often botocore sends a request that fails on the server's side; s3fs repeats it too."""
TIMEOUTS = {"connect_timeout": 20, "read_timeout": 60}
"""Seconds for a connection and for an answer: the 5 and 15 of s3fs are too few on a busy machine."""
S3 = ("s3", "s3a")
OBJECT_STORES = (*S3, "gs", "gcs", "az", "abfs", "abfss")
"""Protocols without folders: making one would make a bucket, also one whose name is mistyped."""
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_OF_ONE_FILE = (FileNotFoundError, PermissionError, IsADirectoryError)
"""Errors that say nothing of other files."""


@dataclass(frozen=True)
class Listed:
    """A file of a listing: its bytes, and the MD5 of its content; None where the file system does not say so."""

    size: int | None
    md5: str | None


class NoConditions(UserError):
    """The server does not know conditional writes, so that nothing can be claimed."""


class UrlFolder:
    """The files below a URL.

    Object stores such as S3 write a file whole or not at all. Others may leave a part of one if a process is killed.
    Errors of all methods: UserError if the URL cannot be read or written: an unknown protocol, a missing package, no
    permission, no such bucket, no answer.
    """

    def __init__(self, url: str):
        self.url = without_slash(url)
        self._opened: tuple[int, Any, str] | None = None  # Any: fsspec is untyped

    def __truediv__(self, name: str) -> str:
        """The URL of a file."""
        return f"{self.url}/{name}"

    @property
    def has_claims(self) -> bool:
        """Whether a file can be written on condition that it is not there: known of S3."""
        return self.url.partition("://")[0] in S3

    def prepare(self, folders: Sequence[str] = ()) -> None:
        """Makes the folders, and checks that a file can be written."""
        with url_errors(self.url, "written"):
            files, top = self._open()
            for name in folders or [""]:
                self._make(files, f"{top}/{name}".rstrip("/"))
            probe = "/".join([top, *folders[:1], ".probe"])
            files.pipe_file(probe, b"written")
            with suppress(Exception):  # whoever may only add files, may write results
                files.rm_file(probe)

    def _make(self, files: Any, folder: str) -> None:  # Any: fsspec is untyped
        if folder and self.url.partition("://")[0] not in OBJECT_STORES:
            files.makedirs(folder, exist_ok=True)

    def upload(self, folder: Path) -> None:
        """Writes all files in a local folder and below it, together."""
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        with url_errors(self.url, "written"):
            files, top = self._open()
            for inside in sorted({name.rpartition("/")[0] for name in paths}):
                self._make(files, f"{top}/{inside}".rstrip("/"))
        self.write({name: path.read_bytes() for name, path in paths.items()})

    def listing(self, folder: str) -> dict[str, Listed]:
        """The files directly in a folder by their names, in order; empty if there is no such folder."""
        with url_errors(self.url, "read"):
            files, top = self._open()
            files.invalidate_cache()  # other processes write too
            try:
                entries = files.ls(f"{top}/{folder}", detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
        inside = [entry for entry in entries if entry.get("type") == "file"]
        found = {str(entry["name"]).rpartition(f"/{folder}/")[2]: entry for entry in inside}
        return {name: _listed(entry) for name, entry in sorted(found.items()) if name and "/" not in name}

    def read(self, name: str) -> bytes:
        """The content of a file. FileNotFoundError."""
        with url_errors(self / name, "read"):
            files, top = self._open()
            try:
                content: bytes = files.cat_file(f"{top}/{name}")
                return content
            except FileNotFoundError:
                pass  # raised below, since `url_errors` would make it a UserError
        raise FileNotFoundError(errno.ENOENT, "there is no such file", self / name)

    def read_many(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """Each of these files with its content, or with the reason why this one has none: FileNotFoundError,
        PermissionError, IsADirectoryError. Many are requested together, a few hundred at a time are in memory."""
        for start in range(0, len(names), AT_ONCE):
            batch = names[start : start + AT_ONCE]
            with url_errors(self.url, "read"):
                contents = self._cat(batch)
            yield from zip(batch, contents, strict=True)

    def _cat(self, names: Sequence[str]) -> list[bytes | OSError]:
        files, top = self._open()
        # Newer s3fs asks for the size of each file before, so that it may read parts of it at the same time.
        undivided = "max_concurrency" in signature(files.cat_file).parameters
        more = {"max_concurrency": 1} if self.has_claims and undivided else {}
        paths = [f"{top}/{name}" for name in names]
        try:
            contents = files.cat_ranges(paths, None, None, on_error="return", **more)  # `cat` takes [x] for a pattern
        except FileNotFoundError:  # of one of them: simplecache:: gives all or none
            contents = [_content(files, path) for path in paths]
        for content in contents:
            if isinstance(content, Exception) and not isinstance(content, _OF_ONE_FILE):
                raise content
        return list(contents)

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Writes files, together if there are several, each in the place of an earlier one."""
        with url_errors(self / next(iter(contents), ""), "written"):
            files, top = self._open()
            files.pipe({f"{top}/{name}": content for name, content in contents.items()})

    def at_once(self, ask: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """What `ask`, which sends a few requests, gives for each item, in their order; for many at the same time where
        the file system can."""
        with url_errors(self.url, "read"):
            files, _ = self._open()
        if len(items) < 2 or not getattr(files, "async_impl", False):
            return [ask(item) for item in items]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(ask, items))

    def remove(self, name: str) -> None:
        """Deletes a file, if it is there."""
        with url_errors(self / name, "deleted"):
            files, top = self._open()
            with suppress(FileNotFoundError):
                try:
                    files.rm_file(f"{top}/{name}")
                except Exception:  # ftp:// has an error of its own for a file that is not there
                    files.invalidate_cache()
                    files.info(f"{top}/{name}")
                    raise

    def remove_many(self, names: Sequence[str]) -> None:
        """Deletes those of these files that are there: at S3 a thousand per request, elsewhere many requests at the
        same time where the file system can."""
        for start in range(0, len(names), AT_ONCE):
            batch = names[start : start + AT_ONCE]
            with url_errors(self.url, "deleted"):
                files, top = self._open()
                left = _not_deleted_together(files, top, batch) if self.has_claims else batch
            self.at_once(self.remove, left)

    def ages(self, names: Sequence[str]) -> list[float | None]:
        """Seconds since each of these files was written, by the server's clock at S3, by this machine's elsewhere; None
        for one that is not there, or where the file system does not say so."""
        return self.at_once(self._age, names)

    def _age(self, name: str) -> float | None:
        if self.has_claims:
            state = self.state(name)
            return None if state is None else state[1]
        with url_errors(self / name, "read"):
            files, top = self._open()
            try:
                written: datetime.datetime = files.modified(f"{top}/{name}")
            except (FileNotFoundError, NotImplementedError, KeyError):
                return None
        now = datetime.datetime.now(datetime.UTC)
        return (now - (written if written.tzinfo else written.replace(tzinfo=datetime.UTC))).total_seconds()

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        with url_errors(self / name, "read"):
            files, top = self._open()
            files.invalidate_cache()
            try:
                return bool(files.info(f"{top}/{name}")["type"] == "file")  # `isfile` says no to every error
            except FileNotFoundError:
                return False

    def create(self, name: str, content: bytes) -> str | None:
        """Writes a file unless it is there; its version, None if it was not written. None too if it was written and the
        server's answer was lost: the request is repeated then. Only where `has_claims`."""
        return self._write_if(name, content, mode="create")

    def replace(self, name: str, content: bytes, version: str) -> str | None:
        """Writes a file if its version is still this one, as `create` and `state` give it; its new version, or None as
        `create`. Only where `has_claims`."""
        return self._write_if(name, content, IfMatch=version)

    def state(self, name: str) -> tuple[str, float] | None:
        """The version of a file and its age in seconds, both by the server's clock; None if it is not there. Only where
        `has_claims`."""
        with url_errors(self / name, "read"):
            files, top = self._open()
            bucket, key, _ = files.split_path(f"{top}/{name}")
            try:
                answer = files.call_s3("head_object", Bucket=bucket, Key=key)
            except FileNotFoundError:
                return None
            from email.utils import format_datetime, parsedate_to_datetime

            here = format_datetime(datetime.datetime.now(datetime.UTC))  # only for a server that does not say its time
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"].get("date", here))
            return answer["ETag"], (now - answer["LastModified"]).total_seconds()

    def _write_if(self, name: str, content: bytes, **condition: str) -> str | None:
        with url_errors(self / name, "written"):
            files, top = self._open()
            try:
                version: str = files.pipe_file(f"{top}/{name}", content, **condition)["ETag"]
            except FileExistsError:
                return None
            except OSError as error:  # s3fs translates only some of the answers
                code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
                if code in _UNMET:
                    return None
                if code in _UNKNOWN:
                    raise NoConditions(f"{self.url} has a server that writes nothing on condition ({code})") from error
                raise
            return version

    def _open(self) -> tuple[Any, str]:  # Any: fsspec is untyped
        """The file system, and the folder's path in it."""
        if self._opened is not None and self._opened[0] == os.getpid():
            return self._opened[1:]
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        options: dict[str, Any] = {}
        if self.has_claims and "config_kwargs" not in fsspec.config.conf.get("s3", {}):
            retries = {"max_attempts": ATTEMPTS, "mode": "standard"}
            options["config_kwargs"] = {"max_pool_connections": CONNECTIONS, "retries": retries, **TIMEOUTS}
        files, top = fsspec.core.url_to_fs(self.url, **options)
        if isinstance(files, LocalFileSystem):  # fsspec takes what it does not know for a path
            raise UserError(
                f"{self.url} is no URL of a file system; give a folder, or a URL such as s3://bucket/results."
            )
        if self.has_claims:
            self._check_name(files, top)
        if self.has_claims and not getattr(files, "_tunefront_answered", False):
            _contact(files, top)
            files._tunefront_answered = True  # a file system is one per process, and lives as long
        if getattr(files, "async_impl", False):  # older fsspec makes one for every thread, which connects anew
            self._opened = (os.getpid(), files, top.rstrip("/"))
        return files, top.rstrip("/")

    def _check_name(self, files: Any, top: str) -> None:  # Any: fsspec is untyped
        """UserError for a URL of S3 without a bucket, or of a version: all files would be that one object."""
        if not files.split_path(top)[0]:
            raise UserError(f"{self.url} names no bucket; write {self.url.partition('://')[0]}://BUCKET/FOLDER.")
        if _VERSION in top:
            raise UserError(f"{self.url} names a version of an object; give the URL of a folder, without {_VERSION}.")


@contextmanager
def output_folder(location: str | Path) -> Iterator[Path]:
    """A local folder whose files are at `location` when the block ends: the location itself, or a temporary folder that
    is then uploaded to the fsspec URL. UserError if the URL cannot be written, checked before and after."""
    folder = local_folder(location)
    if folder is not None:
        yield folder
        return
    remote = UrlFolder(str(location))
    remote.prepare()
    with tempfile.TemporaryDirectory(prefix="tunefront-") as made:
        yield Path(made)
        remote.upload(Path(made))


_VERSION = "?versionId="
"""What s3fs cuts off an object's name, with all that follows."""
_UNMET = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409", "NoSuchKey", "404")
"""What S3 answers if the condition of a write is not met, or if another conditional write is under way."""


_UNKNOWN = ("NotImplemented", "501")
"""What a server answers that does not know conditions."""


def _content(files: Any, path: str) -> bytes | OSError:  # Any: fsspec is untyped
    try:
        content: bytes = files.cat_file(path)
        return content
    except OSError as error:
        return error


def _not_deleted_together(files: Any, top: str, names: Sequence[str]) -> list[str]:  # Any: fsspec is untyped
    """Deletes objects of S3 by one request; the names of those that it did not delete: all, if the server does not know
    such a request. `rm` of s3fs would not say so."""
    keys = {files.split_path(f"{top}/{name}")[1]: name for name in names}
    bucket, _, _ = files.split_path(top)
    asked = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    try:
        answer = files.call_s3("delete_objects", Bucket=bucket, Delete=asked)
    except OSError:
        return list(names)
    return [keys[error["Key"]] for error in answer.get("Errors", ()) if error.get("Key") in keys]


def _contact(files: Any, top: str) -> None:  # Any: fsspec is untyped
    """One request, so that a wrong bucket or endpoint is named at once. UserError without such a bucket or an
    answer."""
    bucket, prefix, _ = files.split_path(top)
    from fsspec.exceptions import FSTimeoutError

    try:
        files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1, timeout=CONTACT_SECONDS)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no bucket {bucket}; make it first") from error
    except FSTimeoutError as error:
        endpoint = getattr(getattr(files.s3, "meta", None), "endpoint_url", "the server")
        raise TimeoutError(f"{endpoint} does not answer in {CONTACT_SECONDS} s") from error


def _listed(entry: Mapping[str, Any]) -> Listed:  # Any: fsspec is untyped
    size = entry.get("size")
    return Listed(None if size is None else int(size), _md5_of(entry))


def _md5_of(entry: Mapping[str, Any]) -> str | None:  # Any: fsspec is untyped
    """The MD5 that S3 or Google Cloud Storage lists for a file, in hex."""
    digest = _MD5.fullmatch(str(entry.get("ETag")))  # others are no MD5: of several parts, or encrypted with a key
    if digest is not None:
        return digest[1]
    try:
        return base64.b64decode(entry.get("md5Hash") or b"", validate=True).hex() or None
    except (ValueError, TypeError):
        return None
