"""Files at URLs: odd names, places that are none, and how many requests there are."""

from __future__ import annotations

import base64
import ftplib
import hashlib
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.bench.records.made import changed
from tests.bench.records.test_s3 import name, record
from tests.s3 import BUCKET, Server, counted
from tunefront.bench.errors import UserError
from tunefront.bench.records import load, load_plans, load_records
from tunefront.bench.records.answers import AnswerFiles
from tunefront.bench.records.index import WORTH
from tunefront.bench.records.merge import identity
from tunefront.bench.records.plans import Plans
from tunefront.bench.records.store import Store
from tunefront.bench.records.urls import UrlFolder, _md5_of

FRAME = pd.DataFrame({"id": ["0"], "label": [1], "prediction": [1]})
ODD = ("a b", "a%20b", "a#b", "a?b", "a[1]", "[!a]*", "a*", "ü/ß", "..", "a/../b", "a//b", "records", "a{x}")


def uses(store: Store) -> None:
    """Writes, reads, lists and deletes; nothing is lost on the way."""
    store.prepare()
    keys = [name(number) for number in range(3)]
    for number, key in enumerate(keys):
        store.write(record(key, number), FRAME)
    assert [each.key for each in load(f"{store.location}/").records] == sorted(keys)
    assert list(store.read_all([*keys, name(9)])) == keys
    assert store.read(name(9)) is None
    assert store.remote.has(f"records/{keys[0]}.json")
    assert not store.remote.has("records")
    with store.claim(keys[0]) as mine:
        assert mine
    assert AnswerFiles({keys[0]: store.location}).read(keys[0]) is not None
    store.remote.remove(f"records/{keys[0]}.json")
    assert [each.seed for each in load_records(store.location)] == [
        number for key, number in sorted((key, number) for number, key in enumerate(keys) if number)
    ]


@pytest.mark.parametrize("folder", ODD)
def test_any_name_of_a_folder_will_do(s3: Server, folder: str, tmp_path: Path) -> None:
    uses(Store(f"{s3.new_url()}/{folder}"))
    uses(Store(f"memory://{tmp_path.name}/{folder}"))


@pytest.mark.parametrize("chain", ["simplecache", "dir"])
def test_chained_file_systems_will_do(chain: str, tmp_path: Path) -> None:
    uses(Store(f"{chain}::memory://{tmp_path.name}/{chain}"))


def test_the_top_of_a_file_system_will_do(s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fsspec.filesystem("s3").mkdir("top")
    fsspec.filesystem("memory").store.clear()
    for url in ("s3://top/", "memory://", "memory:///"):
        uses(Store(url))
        fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("s3").rm("top", recursive=True)
    assert not list(tmp_path.iterdir()), "memory: and s3: are no folders here"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3://", "no bucket"),
        ("s3:///", "no bucket"),
        ("s3://UPPER_case!/x", "nvalid bucket name"),
        (f"s3://{BUCKET}/x?versionId=1", "version"),
        ("://x", "no URL"),
        ("c://x", "no URL"),
        ("tp://x", "tp"),
    ],
)
def test_what_is_no_place_is_named(
    s3: Server, url: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(url)
    for use in (store.prepare, lambda: store.write(record("1")), lambda: load(url), lambda: store.read("1")):
        with pytest.raises(UserError, match=why):
            use()
    assert not list(tmp_path.iterdir())


def test_the_path_of_a_url_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="as a text"):
        Store(Path("s3://bucket/results"))
    assert Store(tmp_path / "a:" / "b").folder == tmp_path / "a:" / "b"


def test_slashes_at_the_end_make_no_other_place() -> None:
    assert identity("memory://") == identity("memory:///") != identity("memory://a")
    assert identity("s3://bucket/x") == identity("s3://bucket/x//")


def test_a_file_takes_one_request(s3: Server) -> None:
    store = Store(s3.new_url())
    store.prepare()
    for number in range(3):
        store.write(record(name(number)), FRAME)
    with counted() as requests:
        assert store.read(name(0)) is not None
        assert store.read(name(9)) is None
        AnswerFiles({name(number): store.location for number in range(3)}).read_ahead(map(name, range(3)))
    assert dict(requests) == {"get_object": 5}


def test_plans_that_have_seconds_now_ask_together_which_cells_have_run(s3: Server) -> None:
    url = s3.new_url()
    first = [
        record(name(number)).model_copy(update={"status": "planned", "fingerprints": {"method": "1"}})
        for number in range(30)
    ]
    Plans(url).keep(first)
    Store(url).write(record(name(0)))
    timed = [changed(plan, {"seconds.eval": 2.0}) for plan in first]
    with counted() as requests:
        Plans(url).keep(timed)
    assert {plan.key for plan in load_plans(url) if plan.seconds.eval is None} == {name(0)}
    assert requests["head_object"] == 0
    assert requests["list_objects_v2"] == 2


def test_no_answer_is_no_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("quoth the server")

    monkeypatch.setattr(fsspec.filesystem("memory"), "info", refuse)
    with pytest.raises(UserError, match="quoth"):
        UrlFolder("memory://refused").has("records/1.json")


class Hashing(MemoryFileSystem):
    """Lists the MD5 of each file as gcsfs does."""

    protocol = "hashing"
    store: ClassVar[dict[str, object]] = {}

    def ls(self, path: str, detail: bool = True, **more: object) -> object:
        entries = super().ls(path, detail, **more)
        for entry in entries if detail else ():
            if entry["type"] == "file":
                digest = hashlib.md5(self.cat_file(entry["name"])).digest()
                entry["md5Hash"] = base64.b64encode(digest).decode()
        return entries


@pytest.mark.parametrize("there", [False, True])
def test_what_is_not_there_need_not_be_deleted(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ftplib.error_perm("550 quoth the server")

    folder = UrlFolder("memory://refused")
    folder.write({"1.json": b"1"} if there else {"2.json": b"2"})
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "rm_file", refuse)
        with pytest.raises(UserError, match="quoth") if there else nullcontext():
            folder.remove("1.json")
    folder.remove_many(["1.json", "2.json"])


def test_what_lists_a_hash_has_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("hashing", Hashing, clobber=True)
    store = Store("hashing://results")
    store.prepare()
    for number in range(WORTH):
        store.write(record(name(number), number))
    first = load(store.location)
    monkeypatch.setattr(UrlFolder, "read_many", lambda *_: iter(()))
    assert load(store.location) == first
    assert len(first.records) == WORTH


@pytest.mark.parametrize("value", [None, "", "no base64!", "ü", 7, "YQ==", b"YQ=="])
def test_what_is_no_hash_is_no_index(value: object) -> None:
    assert _md5_of({"md5Hash": value, "ETag": '"0123-2"'}) in (None, b"a".hex())


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The URL of a server that shows the files in a folder, and takes none."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_web_server_is_read(site: str, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    written = Store(tmp_path / "results")
    written.prepare()
    for number in range(30):
        written.write(record(name(number), number), FRAME)
    store = Store(f"{site}/results")
    assert load_records(store.location) == written.records()
    assert store.read_all([name(number) for number in range(40)]) == {each.key: each for each in written.records()}
    assert AnswerFiles({name(0): store.location}).read(name(0)) is not None
    assert not load(f"{site}/nothing").records
    one = f"records/{name(0)}.json"
    for use in (store.prepare, lambda: store.write(record(name(0))), lambda: store.remote.remove(one)):
        with pytest.raises(UserError, match=site):
            use()
