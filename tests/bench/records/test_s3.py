"""Records at S3, against a real server."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from tests.bench.execution.grids import until
from tests.s3 import BUCKET, Server, connected, counted, refusing_server, silent_server
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record, index, leases, load, load_records, urls
from tunefront.bench.records.answers import AnswerFiles
from tunefront.bench.records.deletion import Deletion, delete, drop_index, running
from tunefront.bench.records.kept import find_missing
from tunefront.bench.records.leases import Lease
from tunefront.bench.records.store import Store
from tunefront.bench.records.urls import UrlFolder

FRAME = pd.DataFrame({"id": ["0"], "label": [1], "prediction": [1]})


def record(key: str, seed: int = 3) -> Record:
    return Record(key=key, status="ok", method="full", label="full", backbone="b", task="t", seed=seed)


def name(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def store(s3: Server) -> Store:
    made = Store(s3.new_url())
    made.prepare()
    return made


@pytest.fixture
def many(store: Store) -> Store:
    """150 records, which are worth an index, and no index."""
    records = [record(name(number), number) for number in range(150)]
    store.remote.write({f"records/{each.key}.json": each.model_dump_json(indent=1).encode() for each in records})
    return store


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are requested one by one, from now on."""
    names: list[str] = []
    read_many = UrlFolder.read_many

    def noting(folder: UrlFolder, wanted: list[str]) -> object:
        names.extend(wanted)
        return read_many(folder, wanted)

    monkeypatch.setattr(UrlFolder, "read_many", noting)
    return names


def test_s3_holds_records_and_predictions(store: Store) -> None:
    store.write(record("1" * 8), FRAME)
    store.write(record("2" * 8))
    assert store.read("1" * 8) == record("1" * 8)
    assert store.read("3" * 8) is None
    assert [stored.key for stored in store.records()] == ["1" * 8, "2" * 8]
    assert store.predictions("1" * 8)["prediction"].tolist() == [1]
    assert list(store.read_all(["3" * 8, "2" * 8, "1" * 8])) == ["2" * 8, "1" * 8]
    assert load_records(store.location) == store.records()
    assert set(store.remote.listing("records")) == {f"{'1' * 8}.json", f"{'2' * 8}.json"}


def test_all_records_are_read_together_as_one_by_one(many: Store, asked: list[str]) -> None:
    keys = [name(number) for number in range(200)]
    found = many.read_all(keys)
    assert list(found) == keys[:150]
    assert all(found[key] == many.read(key) for key in keys[:150:50])


def test_an_index_replaces_requests_and_may_be_deleted(many: Store, asked: list[str]) -> None:
    first = load(many.location)
    assert (len(first.records), len(asked)) == (150, 150)
    asked.clear()
    assert load(many.location) == first
    assert asked == []
    assert many.read_all([each.key for each in first.records]) == {each.key: each for each in first.records}
    assert asked == []
    drop_index(many)
    assert load(many.location) == first
    assert len(asked) == 150


def test_what_an_index_lacks_is_read_and_what_changed_counts(many: Store, asked: list[str]) -> None:
    load(many.location)
    many.write(record(name(3), 1003))
    many.write(record(name(1000), 1000))
    many.remote.remove(f"records/{name(4)}.json")
    asked.clear()
    seeds = {each.key: each.seed for each in load(many.location).records}
    assert (len(seeds), seeds[name(3)], seeds[name(1000)], name(4) in seeds) == (150, 1003, 1000, False)
    assert sorted(asked) == sorted([f"records/{name(3)}.json", f"records/{name(1000)}.json"])


def test_those_who_read_a_part_add_to_the_index(many: Store, asked: list[str]) -> None:
    """As machines do that run a share of the cells each."""
    shares = [[name(number) for number in range(start, 300, 2)] for start in range(2)]
    more = [record(name(number), number) for number in range(150, 300)]
    many.remote.write({f"records/{each.key}.json": each.model_dump_json(indent=1).encode() for each in more})
    for keys in shares:
        assert len(many.read_all(keys)) == 150
    assert len(asked) == 300
    for keys in shares:
        assert list(many.read_all(keys)) == keys
    assert len(load(many.location).records) == 300
    assert len(asked) == 300


def forged(content: bytes) -> bytes:
    """An index in which every record has another seed."""
    return gzip.compress(gzip.decompress(content).replace(b'"seed":', b'"seed":9'))


def longer(content: bytes) -> bytes:
    """An index that says its first content has a terabyte."""
    return gzip.compress(b"1000000000000\n" + gzip.decompress(content))


INDEXES: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda content: content[: len(content) // 2],
    "torn at its start": lambda content: content[:3],
    "empty": lambda content: b"",
    "no gzip": lambda content: b"not an index",
    "no numbers": lambda content: gzip.compress(b"not an index\n" * 1000),
    "forged": forged,
    "too long": longer,
    "a bomb": lambda content: gzip.compress(b"%d\n" % 2**24 + bytes(2**24)),
    "negative": lambda content: gzip.compress(b"-1\n" + gzip.decompress(content)),
    "twice": lambda content: content + content,
    "of other records": lambda content: gzip.compress(b"3\nabc" * 1000),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_a_damaged_or_hostile_index_is_as_if_it_were_not_there(many: Store, kind: str) -> None:
    first = load(many.location)
    path = "index/records.gz"
    many.remote.write({path: INDEXES[kind](many.remote.read(path))})
    assert load(many.location) == first
    assert load(many.location) == first
    assert len({each.seed for each in first.records}) == 150


def test_an_index_of_nothings_takes_no_time(many: Store, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 kB, with ten million contents."""
    first = load(many.location)
    many.remote.write({"index/records.gz": gzip.compress(b"0\n" * 10_000_000)})
    looked_at: list[bytes] = []
    digest = index._md5
    monkeypatch.setattr(index, "_md5", lambda content: (looked_at.append(content), digest(content))[1])
    assert load(many.location) == first
    assert len(looked_at) < 10 * len(first.records)
    asked.clear()
    assert load(many.location) == first
    assert asked == [], "a new one took its place"


def test_predictions_are_read_together(store: Store, asked: list[str]) -> None:
    for number in range(5):
        store.write(record(name(number)), FRAME)
    store.remote.write({f"predictions/{name(5)}.parquet": b"PAR1 torn"})
    answers = AnswerFiles({name(number): store.location for number in range(7)})
    answers.read_ahead([name(number) for number in range(7)])
    assert len(asked) == 7
    read = [answers.read(name(number), 1) for number in range(7)]
    assert len(asked) == 7
    assert [None if each is None else each.predictions.tolist() for each in read] == [[1]] * 5 + [None, None]
    with pytest.raises(UserError, match="not a complete Parquet file"):
        store.predictions(name(5))
    with pytest.raises(FileNotFoundError):
        store.predictions(name(6))


def test_odd_objects_are_named_and_left(store: Store) -> None:
    store.write(record("1" * 8))
    odd = {
        "torn.json": b'{"key": "torn"',
        "other.json": record("2" * 8).model_dump_json().encode(),
        "version.json": json.dumps({"schema_version": 1}).encode(),
        "[a-z]*.json": b"",
        "note.txt": b"a note",
        "inner/3.json": record("3").model_dump_json().encode(),
    }
    store.remote.write({f"records/{file}": content for file, content in odd.items()})
    loaded = load(store.location)
    assert [each.key for each in loaded.records] == ["1" * 8]
    text = " ".join(loaded.left_out)
    assert all(file in text for file in ("torn.json", "other.json", "version.json", "[a-z]*.json"))
    assert not any(file in text for file in ("note.txt", "inner"))
    assert {file: store.remote.read(f"records/{file}") for file in odd} == odd
    with pytest.raises(UserError, match="another cell"):
        store.read("other")
    assert store.read("torn") is None


def test_checkpoints_are_kept_found_and_dropped(store: Store) -> None:
    digest = store.write_checkpoint(b"tensors")
    kept = record("1" * 8).model_copy(update={"storage": record("1").storage.model_copy()})
    kept = kept.model_copy(update={"storage": kept.storage.model_copy(update={"checkpoint_sha256": digest})})
    assert Store(store.location).has_checkpoint(kept)
    assert store.checkpoint(kept) == b"tensors"
    store.drop_checkpoints([kept])
    assert not store.has_checkpoint(kept)
    assert store.checkpoint(kept) is None
    store.write_checkpoint(b"tensors")
    assert store.has_checkpoint(kept), "a listing of before is no answer"


def test_many_checkpoints_are_dropped_together(store: Store) -> None:
    kept = []
    for number in range(30):
        storage = record("1").storage.model_copy(update={"checkpoint_sha256": store.write_checkpoint(b"%d" % number)})
        kept.append(record(name(number)).model_copy(update={"storage": storage}))
    with counted() as requests:
        store.drop_checkpoints(kept[1:])
        store.drop_checkpoints(kept[1:])
    assert list(store.remote.listing("checkpoints")) == [f"{kept[0].storage.checkpoint_sha256}.safetensors"]
    assert dict(requests) == {"list_objects_v2": 2, "delete_objects": 1}


def test_missing_files_and_deletion(store: Store) -> None:
    for number in range(2):
        store.write(record(name(number)), FRAME if number else None)
    gone = record(name(2))
    missing = find_missing(store.location, [record(name(0)), record(name(1)), gone])
    assert (missing.records, missing.predictions) == ((gone,), (record(name(0)),))
    assert not delete(store, [Deletion(record(name(1), seed=4), plan=True)]), "it is another record now"
    assert delete(store, [Deletion(record(name(1)), plan=True)])
    assert set(store.remote.listing("records")) == {f"{name(0)}.json"}
    assert store.remote.listing("predictions") == {}
    assert store.remote.listing("locks") == {}


def test_a_cell_is_held_by_one(store: Store) -> None:
    other = Store(store.location)
    with store.claim("1" * 8) as mine, other.claim("1" * 8) as twice, other.claim("2" * 8) as another:
        assert (mine, twice, another) == (True, False, True)
        assert set(running(other)) == {"1" * 8, "2" * 8}
        assert not delete(other, [Deletion(record("1" * 8), plan=True)])
    with other.claim("1" * 8) as mine:
        assert mine
    assert (store.remote.listing("locks"), running(store)) == ({}, [])


ELSEWHERE = {"machine": "another", "number": 1, "started": "7"}
GONE = {**vars(leases.Process.own()), "started": "1"}  # another process had this number
CLAIMS: dict[str, bytes] = {
    "of a process that is gone": json.dumps({"holder": "it", "process": GONE}).encode(),
    "of another machine": json.dumps({"holder": "it", "process": ELSEWHERE}).encode(),
    "of a process that runs": json.dumps({"holder": "it", "process": vars(leases.Process.own())}).encode(),
    "torn": b'{"holder": "i',
    "empty": b"",
    "nested": b"[" * 100_000,
    "odd": b'{"holder": 1, "process": {"machine": [], "number": "x", "started": null}}',
}


@pytest.mark.parametrize("kind", sorted(set(CLAIMS) - {"of a process that is gone"}))
def test_a_claim_that_is_not_renewed_ends(store: Store, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store.remote.write({"locks/1.json": CLAIMS[kind]})
    with store.claim("1") as mine:
        assert not mine
    monkeypatch.setattr(leases, "EXPIRE_SECONDS", -1.0)
    with store.claim("1") as mine:
        assert mine
    assert store.remote.listing("locks") == {}


def test_a_claim_of_a_process_that_is_gone_ends_at_once(store: Store) -> None:
    if not leases.Process.own().machine:
        pytest.skip("processes of a machine cannot be told apart here")
    store.remote.write({"locks/1.json": CLAIMS["of a process that is gone"]})
    assert running(store) == []
    with store.claim("1") as mine:
        assert mine


def test_a_process_of_an_unknown_machine_is_not_known_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes can be seen and the boot cannot, as in a sandbox, all machines have the same empty name."""
    monkeypatch.setattr(leases, "_machine", lambda: "")
    assert not leases.Process("", 2**22 + 1, "7").is_gone
    assert not leases.Process("another", 2**22 + 1, "7").is_gone


def test_a_claim_is_renewed_as_long_as_it_is_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    with store.claim("1") as mine:
        assert mine
        start = time.monotonic()

        def is_younger() -> bool:
            state = store.remote.state("locks/1.json")
            return state is not None and state[1] + 2 < time.monotonic() - start  # S3 says times to a second

        assert until(is_younger, 60)


def test_of_two_that_take_an_old_claim_over_one_gets_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.remote.write({"locks/1.json": CLAIMS["of another machine"]})
    monkeypatch.setattr(leases, "EXPIRE_SECONDS", -1.0)
    state, second = UrlFolder.state, Lease(store.remote, "1")

    def overtaken(folder: UrlFolder, file: str) -> tuple[str, float] | None:
        known = state(folder, file)
        monkeypatch.setattr(UrlFolder, "state", state)
        assert second.take()
        return known

    monkeypatch.setattr(UrlFolder, "state", overtaken)
    with store.claim("1") as mine:
        assert not mine
    second.end()


def test_a_holder_that_was_overtaken_leaves_the_claim_of_the_other(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    with store.claim("1") as mine:
        assert mine
        store.remote.write({"locks/1.json": CLAIMS["of another machine"]})
        time.sleep(0.5)
    assert store.remote.read("locks/1.json") == CLAIMS["of another machine"]
    assert [each.levelno for each in caplog.records if each.name == "tunefront"] == [logging.WARNING]


Request = Callable[..., Awaitable[object]]


def intercept(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Awaitable[object]]) -> None:
    """Lets `answer` answer the requests that write: it gets how to send one, and what is to be sent."""
    import s3fs

    call = s3fs.S3FileSystem._call_s3

    async def ask(files: object, method: str, *arguments: object, **more: object) -> object:
        if method != "put_object":
            return await call(files, method, *arguments, **more)
        return await answer(partial(call, files, method, *arguments), **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", ask)


async def refuse_conditions(send: Request, **more: object) -> object:
    """As a server that does not know conditions."""
    from botocore.exceptions import ClientError

    if "IfNoneMatch" not in more:
        return await send(**more)
    answer = {"Error": {"Code": "NotImplemented", "Message": "a header is not implemented"}}
    raise OSError("not implemented") from ClientError(answer, "PutObject")  # type: ignore[arg-type]


async def ignore_conditions(send: Request, **more: object) -> object:
    """As a server that writes whatever the condition."""
    return await send(**{name: value for name, value in more.items() if name not in ("IfNoneMatch", "IfMatch")})


@pytest.mark.parametrize("server", [refuse_conditions, ignore_conditions])
def test_a_server_without_conditional_writes_has_no_claims(
    store: Store, server: Request, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    intercept(monkeypatch, server)
    for _ in range(2):
        with store.claim("1") as mine, store.claim("1") as twice:
            assert (mine, twice) == (True, True)
    assert [each.levelno for each in caplog.records if each.name == "tunefront"] == [logging.WARNING]
    assert store.remote.listing("locks") == {}


@pytest.mark.parametrize("condition", ["IfNoneMatch", "IfMatch"])
def test_a_claim_whose_answer_was_lost_is_held(store: Store, condition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is repeated if no answer comes, and then its condition is not met any more."""
    if condition == "IfMatch":
        store.remote.write({"locks/1.json": CLAIMS["of a process that is gone"]})

    async def lose(send: Request, **more: object) -> object:
        if condition in more and str(more["Key"]).endswith("1.json"):
            await send(**more)
        return await send(**more)

    intercept(monkeypatch, lose)
    with store.claim("1") as mine:
        assert mine
        assert running(Store(store.location)) == ["1"]
    assert store.remote.listing("locks") == {}


def test_a_renewal_takes_no_claim_from_another(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is halted just before it writes."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    others, renewed = CLAIMS["of another machine"], threading.Event()
    with store.claim("1") as mine:
        assert mine

        async def late(send: Request, **more: object) -> object:
            if not renewed.is_set():
                await send(Bucket=more["Bucket"], Key=more["Key"], Body=others)
                renewed.set()
            return await send(**more)

        intercept(monkeypatch, late)
        assert renewed.wait(60)
    assert store.remote.read("locks/1.json") == others


def test_a_claim_that_was_deleted_is_made_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    with store.claim("1") as mine:
        assert mine
        store.remote.remove("locks/1.json")
        assert until(lambda: store.remote.has("locks/1.json"), 60)
    assert store.remote.listing("locks") == {}


def test_all_claims_are_looked_at_together(store: Store) -> None:
    store.remote.write({f"locks/{number}.json": CLAIMS["of another machine"] for number in range(30)})
    with counted() as requests:
        assert len(running(store)) == 30
    assert (requests["list_objects_v2"], requests["get_object"], requests["head_object"]) == (1, 30, 30)


def uses(location: str) -> list[Callable[[], object]]:
    """Ways to use a place for records."""
    return [
        lambda: Store(location).prepare(),
        lambda: Store(location).read("1"),
        lambda: Store(location).write(record("1")),
        lambda: load(location),
        lambda: find_missing(location, []),
        lambda: AnswerFiles({"1": location}).read("1"),
    ]


def test_a_bucket_that_is_not_there_is_named_and_not_made(s3: Server) -> None:
    import fsspec

    for use in uses("s3://mistyped/results"):
        with pytest.raises(UserError, match=r"s3://mistyped/results.*no bucket mistyped"):
            use()
    assert fsspec.filesystem("s3").ls("") == [BUCKET]


def test_an_endpoint_that_is_not_there_is_named() -> None:
    pytest.importorskip("s3fs")
    with connected(Server("http://127.0.0.1:9")):
        start = time.monotonic()
        for use in uses(f"s3://{BUCKET}/results")[:2]:
            with pytest.raises(UserError, match=r"127\.0\.0\.1:9"):
                use()
        assert time.monotonic() - start < 60


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setattr(urls, "CONTACT_SECONDS", 1)
    with silent_server() as server, connected(server):
        for use in uses(f"s3://{BUCKET}/results")[:2]:
            with pytest.raises(UserError, match="does not answer in 1 s"):
                use()


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InternalError"])
def test_a_server_that_refuses_is_quoted(code: str) -> None:
    pytest.importorskip("s3fs")
    with refusing_server(code) as server, connected(server):
        for use in uses(f"s3://{BUCKET}/results"):
            with pytest.raises(UserError, match=f"quoth the server: {code}"):
                use()


@pytest.mark.parametrize(("url", "package"), [("s3://bucket/x", "s3fs"), ("gs://bucket/x", "gcsfs")])
def test_a_package_that_is_not_installed_is_named(url: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from fsspec.registry import _registry

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(_registry, url.partition(":")[0], raising=False)
    for use in uses(url):
        with pytest.raises(UserError, match=f"nstall {package}"):
            use()


def test_an_index_that_may_not_be_written_is_no_error(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UserError("read only")

    monkeypatch.setattr(UrlFolder, "write", refuse)
    assert len(load(many.location).records) == 150
    assert many.remote.listing("index") == {}


def test_memory_has_no_index(asked: list[str]) -> None:
    store = Store("memory://no/index")
    for number in range(index.WORTH + 1):
        store.write(record(name(number)))
    assert len(load(store.location).records) == index.WORTH + 1
    assert store.remote.listing("index") == {}


def test_a_folder_and_urls_are_read_as_one(store: Store, tmp_path: Path) -> None:
    places = [store.location, "memory://one/of/three", str(tmp_path / "out")]
    for number, place in enumerate(places):
        made = Store(place)
        made.prepare()
        for each in (number, 10):
            made.write(record(name(each)), FRAME)
    records = load_records(*places, f"{places[0]}/", f"{places[2]}{os.sep}")
    assert sorted(each.key for each in records) == sorted(map(name, (0, 1, 2, 10)))
    assert {records.places[name(number)] for number in range(3)} == set(places)
    assert len(records.others) == 2
