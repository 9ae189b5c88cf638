"""Tiny random backbones and an easy toy task, made in code: no network, one thread, fixed seeds."""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.s3 import BUCKET, Server, connected, serving
from tunefront.bench.models.tiny import (
    FAMILIES,
    LANGUAGE_MODELS,
    MORE_FAMILIES,
    MORE_LANGUAGE_MODELS,
    WORDS,
    make_backbone,
    make_language_model,
)
from tunefront.methods.sites import SITES

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # ignored in a shell's background; processes started here would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)

MOST_WORKERS = 8
"""The most workers of `pytest -n auto`: each imports torch, which takes most of a gigabyte."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker per core that this process may use, because tests compute on one thread."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, cores)


def pytest_configure(config: pytest.Config) -> None:
    """Tests of this checkout must not run the code of another one that is installed."""
    import tunefront.bench

    if not Path(str(tunefront.bench.__file__)).is_relative_to(ROOT):
        raise pytest.UsageError(
            f"these are the tests of {ROOT}, but `import tunefront.bench` gives {tunefront.bench.__file__}: install "
            "this checkout (pip install -e .), or run `python -m pytest` in its folder."
        )


def pytest_collection_finish() -> None:
    """What exists when the first test begins is never garbage: every cell looks for garbage several times, and would
    look through the libraries and thousands of tests each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_bare_names() -> Iterator[None]:
    """The packages have one import name each: under a second one every class in them would exist twice."""
    yield
    bare = [name for name in sys.modules if name.split(".")[0] in ("bench", "methods", "reports")]
    assert not bare, f"{', '.join(bare)}: import tunefront.{bare[0]}"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny models are fastest on one thread; `TUNEFRONT_TEST_THREADS=2` shows that no test depends on one thread."""
    import torch

    torch.set_num_threads(int(os.environ.get("TUNEFRONT_TEST_THREADS", "1")))


@pytest.fixture(autouse=True)
def own_sites() -> Iterator[None]:
    """Records of sites that a test adds are forgotten after it."""
    before = dict(SITES)
    yield
    if before != SITES:
        SITES.clear()
        SITES.update(before)


@pytest.fixture(autouse=True)
def own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test takes FLOPs that another has counted, maybe of a model that differs in what the toys' names leave out."""
    if (counted := sys.modules.get("tunefront.bench.meters.flops.counted")) is not None:
        monkeypatch.setattr(counted.FlopMeter, "_known", {})
    if (extrapolate := sys.modules.get("tunefront.bench.meters.flops.extrapolate")) is not None:
        monkeypatch.setattr(extrapolate.Counting, "_forward_halves", {})


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests prepare nothing in the checkout's cache."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def fetched_folder() -> Path | None:
    """Where this machine has fetched archives, if it has; known before any test has a cache of its own."""
    from tunefront.bench.data.cache import folder

    return next((path for path in [folder("archives")] if path.is_dir()), None)


@pytest.fixture
def fetched(own_cache: None, fetched_folder: Path | None) -> Callable[[str], None]:
    """Gives the test what this machine has fetched of an archive, or skips it."""

    def given(name: str) -> None:
        from tunefront.bench.data.archives.cached import is_fetched, path_of
        from tunefront.bench.data.archives.catalog import ARCHIVES

        archive = ARCHIVES[name]
        path = path_of(archive)
        if fetched_folder is not None and not path.exists() and (fetched_folder / archive.filename).is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(fetched_folder / archive.filename)
        if not is_fetched(archive):
            pytest.skip(f"not fetched on this machine: tunefront fetch {name}")

    return given


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a tiny random model and tokenizer for each encoder architecture."""
    root = tmp_path_factory.mktemp("backbones")
    return {family: str(make_backbone(root / family, family)) for family in FAMILIES}


@pytest.fixture(scope="session")
def language_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a tiny random language model and tokenizer for each name in `LANGUAGE_MODELS`."""
    root = tmp_path_factory.mktemp("language_models")
    return {name: str(make_language_model(root / name, name)) for name in LANGUAGE_MODELS}


@pytest.fixture(scope="session")
def more_backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a tiny random model and tokenizer for each further encoder."""
    root = tmp_path_factory.mktemp("more_backbones")
    return {name: str(make_backbone(root / name, name)) for name in MORE_FAMILIES}


@pytest.fixture(scope="session")
def more_language_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same for each name in `MORE_LANGUAGE_MODELS`."""
    root = tmp_path_factory.mktemp("more_language_models")
    return {name: str(make_language_model(root / name, name)) for name in MORE_LANGUAGE_MODELS}


@pytest.fixture(scope="session")
def encoder_decoders(more_language_models: dict[str, str]) -> dict[str, str]:
    """The further encoder-decoders among them."""
    return {name: folder for name, folder in more_language_models.items() if MORE_LANGUAGE_MODELS[name] == "seq2seq"}


@pytest.fixture(scope="session")
def folders(backbones: dict[str, str], language_models: dict[str, str]) -> dict[str, str]:
    """A folder for each tiny backbone, encoder or language model."""
    return backbones | language_models


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An easy sentiment task as a `dir:` folder: 96 train, 32 validation and 40 test rows."""
    return f"dir:{make_toy(tmp_path_factory.mktemp('tasks') / 'toy')}"


def make_toy(folder: Path, seed: int = 0, rows: tuple[int, int, int] = (96, 32, 40)) -> Path:
    """Writes a task whose label is the sentiment of one word."""
    generator = random.Random(seed)
    folder.mkdir(parents=True)
    for split, count in zip(("train", "validation", "test"), rows, strict=True):
        lines = []
        for place in range(count):
            label = place % 2
            filler = [generator.choice(WORDS[6:]) for _ in range(generator.randint(2, 9))]
            filler.insert(generator.randrange(len(filler)), generator.choice(WORDS[3:6] if label else WORDS[:3]))
            lines.append(json.dumps({"text": f"{' '.join(filler)} {place}", "label": label, "idx": place}))
        folder.joinpath(f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    meta = {"task_type": "classification", "label_names": ["good", "bad"], "input_fields": ["text"]}
    meta |= {"label_field": "label", "metrics": ["accuracy", "macro_f1"]}
    folder.joinpath("meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """A server for all tests of this process."""
    with serving() as server, connected(server):
        import fsspec

        fsspec.filesystem("s3").mkdir(BUCKET)
        yield server


@pytest.fixture
def s3(s3_server: Server) -> Iterator[Server]:
    """A real S3 server, to which this process and those that it starts connect."""
    with connected(s3_server):
        yield s3_server


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """Forgets the methods that a test defines."""
    yield
    gc.collect()
