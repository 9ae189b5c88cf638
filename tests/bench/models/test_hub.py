"""Backbones on a fake Hub: which files are downloaded, and the errors if they are not available."""

from __future__ import annotations

import fnmatch
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import errors

from tests.bench.models.folders import copy_of
from tests.bench.models.test_weights import as_bin, sharded
from tunefront.bench.errors import UserError
from tunefront.bench.models.config import check_backbone
from tunefront.bench.models.locate import check_downloaded, locate

COMMIT = "0123456789" * 4
UNUSED = (
    "onnx/model.onnx",
    "tf_model.h5",
    "flax_model.msgpack",
    "rust_model.ot",
    "README.md",
    "checkpoint-1/model.safetensors",
)
UNUSED += ("optimizer.bin", "training_args.bin", "modeling_own.py", "model.fp16.safetensors", "openvino/config.json")


class Hub:
    """A repository as a folder; a download copies the files that match its patterns into the cache."""

    def __init__(self, repository: Path, cache: Path):
        self.repository, self.cache = repository, cache / COMMIT
        self.cache.mkdir(parents=True)
        for name in UNUSED:
            (repository / name).parent.mkdir(exist_ok=True)
            (repository / name).write_text("not requested", encoding="utf-8")

    def snapshot_download(
        self, name: str, *, allow_patterns: list[str], local_files_only: bool = False, revision: str | None = None
    ) -> str:
        assert name == "some/model"
        assert revision in (None, COMMIT)
        if local_files_only and not any(self.cache.iterdir()):
            raise errors.LocalEntryNotFoundError("not in the cache")
        for path in self.repository.rglob("*") if not local_files_only else ():
            place = path.relative_to(self.repository).as_posix()
            if path.is_file() and any(fnmatch.fnmatch(place, pattern) for pattern in allow_patterns):
                (self.cache / place).parent.mkdir(exist_ok=True)
                shutil.copy(path, self.cache / place)
        return str(self.cache)

    @property
    def downloaded(self) -> set[str]:
        return {path.relative_to(self.cache).as_posix() for path in self.cache.rglob("*") if path.is_file()}


@pytest.fixture
def hub(backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    fake = Hub(copy_of(backbones["bert"], tmp_path / "repository"), tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake.snapshot_download)
    locate.cache_clear()
    return fake


SMALL = {"config.json", "tokenizer.json", "tokenizer_config.json"}


def test_only_weights_that_are_loaded_are_downloaded(hub: Hub) -> None:
    shutil.copy(hub.repository / "model.safetensors", hub.repository / "pytorch_model.bin")
    check_backbone.__wrapped__("some/model")
    assert hub.downloaded == SMALL | {"model.safetensors"}
    locate.cache_clear()
    check_downloaded("some/model")


def test_an_id_with_bin_weights_only_is_downloaded(hub: Hub) -> None:
    as_bin(hub.repository)
    check_backbone.__wrapped__("some/model")
    assert hub.downloaded == SMALL | {"pytorch_model.bin"}


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_downloaded_by_their_index(suffix: str, hub: Hub) -> None:
    table = sharded(hub.repository, suffix)
    check_backbone.__wrapped__("some/model")
    assert {name for name in hub.downloaded if name.endswith(f".{suffix}")} == set(table.values())


def test_a_pooling_configuration_is_downloaded_too(hub: Hub) -> None:
    (hub.repository / "1_Pooling").mkdir()
    (hub.repository / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}', encoding="utf-8")
    assert (locate("some/model") / "1_Pooling" / "config.json").is_file()


def test_an_id_without_weights_that_are_read_is_reported(hub: Hub) -> None:
    (hub.repository / "model.safetensors").unlink()
    with pytest.raises(UserError, match="some/model has no weights"):
        check_backbone.__wrapped__("some/model")


def test_an_adapter_of_the_hub_is_reported_with_its_model(hub: Hub) -> None:
    (hub.repository / "config.json").unlink()
    (hub.repository / "adapter_config.json").write_text('{"base_model_name_or_path": "a/base"}', encoding="utf-8")
    with pytest.raises(UserError, match="PEFT adapter, trained on a/base"):
        locate("some/model")


def answer(kind: type[errors.HfHubHTTPError], status: int) -> errors.HfHubHTTPError:
    response: Any = SimpleNamespace(headers={}, request=None, status_code=status)
    return kind(f"{status} Client Error\nmore lines", response=response)


ANSWERS: dict[str, tuple[Callable[[], Exception], str]] = {
    "gated": (lambda: answer(errors.GatedRepoError, 403), r"gated.*https://huggingface\.co/some/model.*hf auth login"),
    "absent": (
        lambda: answer(errors.RepositoryNotFoundError, 404),
        "no backbone 'some/model'.*hf auth login",
    ),
    "private": (lambda: answer(errors.RepositoryNotFoundError, 401), "private.*hf auth login"),
    "broken": (lambda: answer(errors.HfHubHTTPError, 500), "the Hub answered: 500"),
    "offline": (
        lambda: errors.OfflineModeIsEnabled("HF_HUB_OFFLINE is set"),
        "the Hub answered: HF_HUB_OFFLINE is set",
    ),
    "unreachable": (lambda: ConnectionError("no route"), "the Hub answered: no route"),
    "not cached": (lambda: errors.LocalEntryNotFoundError("nothing here"), "the Hub answered: nothing here"),
    "full": (lambda: OSError(28, "No space left on device"), "No space left on device.*HF_HOME"),
    "silent": (lambda: RuntimeError(), "the Hub answered: RuntimeError"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_error_of_the_hub_is_reported_in_one_paragraph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, facts = ANSWERS[name]

    def refuses(*_: object, **__: Any) -> str:
        raise error()

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuses)
    with pytest.raises(UserError, match=facts) as caught:
        locate.__wrapped__("some/model")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="some/model"):
        check_downloaded("some/model")


def test_the_hubs_library_prints_no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    messages, log = list[str](), logging.getLogger("huggingface_hub.utils._http")
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]

    def retries(*_: object, **__: Any) -> str:
        log.warning("Retrying in 1s [Retry 1/5].")
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", retries)
    log.addHandler(handler)
    try:
        with pytest.raises(UserError, match="no route"):
            locate.__wrapped__("some/model")
    finally:
        log.removeHandler(handler)
    assert messages == []
