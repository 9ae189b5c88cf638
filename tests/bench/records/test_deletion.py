"""Deleting cells from a results folder or URL: nothing but their own files, the record first."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.reports.factory import record, sha
from tests.s3 import Server, counted
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record, deletion, load_records
from tunefront.bench.records.deletion import (
    Deletion,
    check_deletable,
    delete,
    delete_leftovers,
    file_sizes,
    leftovers,
    missing,
    running,
)
from tunefront.bench.records.store import Store

FRAME = pd.DataFrame({"id": ["a"], "label": [1], "prediction": [1]})


def made(seed: int = 0, **changes: Any) -> Record:
    return record(seed=seed, recipe={}, settings={}, data__n_test=1, **changes)


@pytest.fixture(params=["folder", "url"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Two cells, one with a plan."""
    location = str(tmp_path / "r") if request.param == "folder" else f"memory://deletion/{tmp_path.name}"
    return filled(Store(location))


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return filled(Store(tmp_path / "r"))


def filled(store: Store) -> Store:
    store.prepare()
    for seed in (0, 1):
        store.write(made(seed), FRAME)
    store._put(f"plans/{made(0).key}.json", b"{}")
    return store


def left(store: Store) -> set[tuple[str, str]]:
    return set(file_sizes(store))


def test_a_record_goes_with_its_predictions_and_the_others_stay(store: Store) -> None:
    assert delete(store, [Deletion(made(0), plan=False)])
    other, key = made(1).key, made(0).key
    assert left(store) == {("records", other), ("predictions", other), ("plans", key)}


def test_a_plan_goes_too_if_its_cell_will_not_run_again(store: Store) -> None:
    assert delete(store, [Deletion(made(0), plan=True)])
    assert ("plans", made(0).key) not in left(store)


def test_the_size_of_a_deletion_is_that_of_its_files(store: Store) -> None:
    sizes = file_sizes(store)
    size = Deletion(made(0), plan=True).size(sizes)
    assert delete(store, [Deletion(made(0), plan=True)])
    assert sum(sizes.values()) - sum(file_sizes(store).values()) == size > 0


def test_a_record_that_was_written_again_is_kept(store: Store) -> None:
    store.write(made(0).model_copy(update={"attempts": ("first",)}), FRAME)
    before = left(store)
    assert not delete(store, [Deletion(made(0), plan=True)])
    assert left(store) == before


def test_a_record_that_is_gone_leaves_the_rest_untouched(store: Store) -> None:
    unknown = Deletion(made(7), plan=True)
    before = left(store)
    assert not delete(store, [unknown])
    assert left(store) == before


def test_a_crash_after_the_first_file_leaves_no_record(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    remove: Callable[..., None] = deletion._remove
    calls = []

    def crash(store: Store, name: str) -> None:
        if calls:
            raise KeyboardInterrupt
        calls.append(name)
        remove(store, name)

    monkeypatch.setattr(deletion, "_remove", crash)
    with pytest.raises(KeyboardInterrupt):
        delete(local, [Deletion(made(0), plan=True)])
    assert [one.key for one in load_records(local.location)] == [made(1).key]


def test_a_cell_that_runs_is_found_and_kept(local: Store) -> None:
    assert not running(local)
    with Store(local.location).claim(made(0).key):
        assert running(local) == [made(0).key]
        assert not delete(local, [Deletion(made(0), plan=False)])
        assert ("records", made(0).key) in left(local)
    assert not running(local)


def test_a_folder_without_locks_gets_none(local: Store) -> None:
    assert local.folder is not None
    local.folder.joinpath("locks").rmdir()
    assert not running(local)
    assert delete(local, [Deletion(made(0), plan=False)])
    assert not local.folder.joinpath("locks").exists()


def test_only_files_and_links_are_deleted(local: Store, tmp_path: Path) -> None:
    assert local.folder is not None
    kept = tmp_path / "elsewhere.parquet"
    kept.write_bytes(b"PAR1")
    predictions = local.folder / "predictions"
    (predictions / f"{made(0).key}.parquet").unlink()
    (predictions / f"{made(0).key}.parquet").symlink_to(kept)
    (predictions / f"{made(1).key}.parquet").unlink()
    (predictions / f"{made(1).key}.parquet").mkdir()
    assert all(delete(local, [Deletion(made(seed), plan=False)]) for seed in (0, 1))
    assert kept.exists()
    assert [path.is_dir() for path in predictions.iterdir()] == [True]


@pytest.mark.parametrize("name", ["../../elsewhere", "../records/{other}", "", "A" * 64, "a" * 63])
def test_a_record_cannot_name_a_checkpoint_elsewhere(local: Store, name: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.safetensors"
    elsewhere.write_bytes(b"tensors")
    hostile = made(5, storage__checkpoint_sha256=name.format(other=made(0).key))
    local.write(hostile, FRAME)
    for part in ("checkpoints", "records"):
        (tmp_path / "r" / part / f"{hostile.storage.checkpoint_sha256}.safetensors").touch()
    before = sorted(path for path in tmp_path.rglob("*.safetensors"))
    assert (local.has_checkpoint(hostile), local.checkpoint(hostile)) == (False, None)
    local.drop_checkpoints([hostile])
    assert delete(local, [Deletion(hostile, plan=True)])
    assert sorted(path for path in tmp_path.rglob("*.safetensors")) == before
    assert elsewhere.exists()


def test_a_folder_that_may_not_be_changed_is_found_first(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    check_deletable(local)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "predictions")
    with pytest.raises(UserError, match="predictions"):
        check_deletable(local)


def age(path: Path, hours: float) -> None:
    os.utime(path, (time.time() - 3600 * hours,) * 2)


@pytest.fixture
def orphans(local: Store) -> dict[str, Path]:
    """Predictions of no record: old, young, with a record that was set aside, and a foreign file."""
    assert local.folder is not None
    names = {"old": sha("old"), "young": sha("young"), "aside": sha("aside"), "foreign": "mine"}
    paths = {name: local.folder / "predictions" / f"{key}.parquet" for name, key in names.items()}
    for name, path in paths.items():
        path.write_bytes(b"PAR1")
        age(path, 1 if name == "young" else 48)
    (local.folder / "records" / f"{sha('aside')}.json.corrupt").write_bytes(b"")
    return paths


def test_old_predictions_of_no_record_are_left_over(local: Store, orphans: dict[str, Path]) -> None:
    assert leftovers(local, file_sizes(local)) == [("predictions", sha("old"))]
    assert delete_leftovers(local, [("predictions", sha("old"))])
    assert [name for name, path in orphans.items() if not path.exists()] == ["old"]


def test_predictions_whose_record_appears_are_kept(local: Store, orphans: dict[str, Path]) -> None:
    assert local.folder is not None
    (local.folder / "records" / f"{sha('old')}.json").write_bytes(b"{}")
    assert not delete_leftovers(local, [("predictions", sha("old"))])
    assert orphans["old"].exists()


def test_checkpoints_belong_to_the_records_that_name_them(local: Store) -> None:
    assert local.folder is not None
    digests = [local.write_checkpoint(text) for text in (b"named", b"aside", b"loose")]
    local.write(made(0, storage__checkpoint_sha256=digests[0]), FRAME)
    text = made(1, storage__checkpoint_sha256=digests[1]).model_dump_json()
    (local.folder / "records" / f"{sha('aside')}.json.corrupt").write_text(text[:-9])
    for digest in digests:
        age(local.folder / "checkpoints" / f"{digest}.safetensors", 48)
    assert leftovers(local, file_sizes(local)) == [("checkpoints", digests[2])]
    assert delete_leftovers(local, [("checkpoints", digests[2])])
    assert not leftovers(local, {("checkpoints", digest): 1 for digest in digests[:2]})
    assert delete(local, [Deletion(made(0, storage__checkpoint_sha256=digests[0]), plan=False)])
    assert {name for part, name in left(local) if part == "checkpoints"} == {digests[1]}


def test_a_record_that_cannot_be_read_may_name_any_checkpoint(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.folder is not None
    digest = local.write_checkpoint(b"of the record that cannot be read")
    age(local.folder / "checkpoints" / f"{digest}.safetensors", 48)
    assert leftovers(local, file_sizes(local)) == [("checkpoints", digest)]

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(deletion, "open_ordinary", refuse)
    assert not leftovers(local, file_sizes(local))


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_a_file_that_is_too_large_for_a_record_is_not_read(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a terabyte that takes no room on the disk."""
    made_at = filled(Store(tmp_path / "r" if where == "folder" else f"memory://large/{tmp_path.name}"))
    digest = made_at.write_checkpoint(b"loose")
    monkeypatch.setattr(deletion, "LEFT_SECONDS", -60)
    assert leftovers(made_at, file_sizes(made_at)) == [("checkpoints", digest)]
    made_at._put("records/large.json.corrupt", b" " * 20_000)
    monkeypatch.setattr(deletion, "MOST_BYTES", 20_000)
    assert leftovers(made_at, file_sizes(made_at)) == [("checkpoints", digest)]
    monkeypatch.setattr(deletion, "MOST_BYTES", 19_999)
    assert leftovers(made_at, file_sizes(made_at)) == []


@pytest.fixture(params=["memory", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store at a URL."""
    memory = request.param == "memory"
    return filled(Store(f"memory://left/{tmp_path.name}" if memory else request.getfixturevalue("s3").new_url()))


def test_what_is_left_over_at_a_url_is_found(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [remote.write_checkpoint(text) for text in (b"named", b"aside", b"of a torn record", b"loose")]
    remote.write(made(0, storage__checkpoint_sha256=digests[0]), FRAME)
    text = made(1, storage__checkpoint_sha256=digests[1]).model_dump_json()
    remote._put(f"records/{sha('aside')}.json.corrupt", text[:-9].encode())
    remote._put(f"records/{sha('torn')}.json", text.replace(digests[1], digests[2])[:-9].encode())
    for name in ("mine", sha("aside"), sha("torn"), sha("loose")):
        remote._put(f"predictions/{name}.parquet", b"PAR1")
    assert not leftovers(remote, file_sizes(remote)), "they are young"
    monkeypatch.setattr(deletion, "LEFT_SECONDS", -60)
    found = leftovers(remote, file_sizes(remote))
    assert found == [("predictions", sha("loose")), ("checkpoints", digests[3])]
    before = left(remote)
    assert delete_leftovers(remote, found) == 2
    assert before - left(remote) == set(found)


def test_predictions_at_a_url_whose_record_appears_are_kept(remote: Store) -> None:
    parts = [("predictions", sha(name)) for name in ("old", "older")]
    for _, name in parts:
        remote._put(f"predictions/{name}.parquet", b"PAR1")
    remote._put(f"records/{sha('old')}.json", b"{}")
    assert delete_leftovers(remote, parts) == 1
    assert parts[0] in left(remote)


def test_many_records_at_s3_go_together(s3: Server) -> None:
    remote = filled(Store(s3.new_url()))
    records = [made(seed) for seed in range(100, 140)]
    for each in records:
        remote.write(each, FRAME)
    with remote.claim(records[0].key), counted() as requests:
        assert delete(remote, [Deletion(each, plan=True) for each in records]) == 39
    assert left(remote) & {("records", each.key) for each in records} == {("records", records[0].key)}
    assert remote.remote.listing("locks") == {}
    assert requests["delete_objects"] == 2
    assert requests["delete_object"] == 39, "claims"


def test_a_server_that_cannot_delete_many_is_asked_one_by_one(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs
    from fsspec.asyn import sync_wrapper

    call = s3fs.S3FileSystem._call_s3

    async def refuse(files: object, method: str, *arguments: object, **more: object) -> object:
        if method == "delete_objects":
            raise OSError("not implemented")
        return await call(files, method, *arguments, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "call_s3", sync_wrapper(refuse))
    remote = filled(Store(s3.new_url()))
    assert delete(remote, [Deletion(made(seed), plan=True) for seed in (0, 1)]) == 2
    assert not left(remote)


def test_an_object_that_may_not_be_deleted_is_an_error(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers for each object of a request, and an error there is none of the request."""
    import s3fs
    from fsspec.asyn import sync_wrapper

    call = s3fs.S3FileSystem._call_s3

    async def refuse(files: object, method: str, *arguments: object, **more: Any) -> object:
        if method == "delete_objects":
            return {"Errors": [{"Key": each["Key"], "Code": "AccessDenied"} for each in more["Delete"]["Objects"]]}
        if method == "delete_object" and "/records/" in more["Key"]:
            raise PermissionError("it is locked")
        return await call(files, method, *arguments, **more)

    remote = filled(Store(s3.new_url()))
    monkeypatch.setattr(s3fs.S3FileSystem, "call_s3", sync_wrapper(refuse))
    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", refuse)
    before = left(remote)
    with pytest.raises(UserError, match="it is locked"):
        delete(remote, [Deletion(made(0), plan=True)])
    assert left(remote) == before, "its predictions are there too"


def test_missing_records_are_named(store: Store) -> None:
    assert missing(store, [made(0).key, "gone"]) == ["gone"]


def test_a_location_without_files_has_no_sizes(tmp_path: Path) -> None:
    assert file_sizes(Store(tmp_path / "nothing")) == {}
    assert file_sizes(Store("memory://deletion/nothing")) == {}
