"""Whatever files and names a person gives, all that goes before a run ends in cells to run or in one clear paragraph.

A few inputs of each kind in every run of the tests; `python -m tests.torture --only fuzz` gives thousands of these and
of other kinds to the command itself, with another seed each time.
"""

from __future__ import annotations

import atexit
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from types import FrameType

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from rich.console import Console

from tests.fuzz import inputs
from tunefront.bench.cli.console import handle_errors
from tunefront.bench.models.tiny import make_backbone, make_language_model
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides

EXAMPLES = 25
LONGEST_SECONDS = 60
"""After which an input is one that hangs: a thousand times what one takes."""
GOOD = "".join(json.dumps({"text": f"words {row}", "label": ("neg", "pos")[row % 2]}) + "\n" for row in range(8))
_often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def kept() -> Path:
    """A folder that lasts as long as the process."""
    place = Path(mkdtemp(prefix="fuzz"))
    atexit.register(shutil.rmtree, place, True)
    return place


@cache
def models() -> dict[str, str]:
    """A tiny encoder and a tiny language model."""
    root = kept()
    return {
        "encoder": str(make_backbone(root / "bert", "bert")),
        "decoder": str(make_language_model(root / "gpt2", "gpt2")),
    }


@cache
def sound_task() -> Path:
    """A folder with a task of which nothing is wrong."""
    place = kept()
    for split in ("train", "test"):
        (place / f"{split}.jsonl").write_text(GOOD)
    return place


@contextmanager
def no_hang() -> Iterator[None]:
    def over(_: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"nothing came of the input in {LONGEST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def comes_to_words(act: Callable[[], object]) -> None:
    """Runs what a command would; it may end well, or in a paragraph and exit code 2, and in nothing else."""
    written = StringIO()
    code = 0
    with no_hang():
        try:
            with handle_errors(Console(file=written, width=80)):
                act()
        except typer.Exit as end:
            code = end.exit_code
    said = written.getvalue()
    assert "bug in tunefront" not in said
    assert "Traceback" not in said
    assert code in (0, 2), said
    assert (code == 2) == said.startswith("error: ")
    assert said.isprintable() or not set(said) & set("\x1b\x07\x00\u202e")


@contextmanager
def folder() -> Iterator[Path]:
    place = Path(mkdtemp(prefix="fuzz"))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def planned(place: Path, *backbones: str) -> object:
    chosen = Overrides(methods=["features"], backbones=backbones or list(models().values()), tasks=[f"dir:{place}"])
    return expand("quick", chosen)


def of_files(files: dict[str, bytes]) -> None:
    with folder() as place:
        for name, content in files.items():
            (place / name).write_bytes(content)
        comes_to_words(lambda: planned(place))


@_often
@given(inputs.csv_files())
def test_csv(data: bytes) -> None:
    of_files({"train.csv": data, "test.csv": data})


@_often
@given(inputs.jsonl_files())
def test_jsonl(data: bytes) -> None:
    of_files({"train.jsonl": data, "test.jsonl": data})


@_often
@given(inputs.metas)
def test_meta(data: bytes) -> None:
    of_files({"train.jsonl": GOOD.encode(), "test.jsonl": GOOD.encode(), "meta.json": data})


@_often
@given(inputs.spellings)
def test_method(text: str) -> None:
    chosen = Overrides(methods=[text], backbones=[models()["encoder"]], tasks=[f"dir:{sound_task()}"])
    comes_to_words(lambda: expand("quick", chosen))


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_config(kind: str) -> None:
    source = Path(models()[kind])
    whole = json.loads((source / "config.json").read_text("utf-8"))

    @_often
    @given(inputs.configs(whole))
    def each(data: bytes) -> None:
        with folder() as place:
            model = shutil.copytree(source, place / "model")
            (model / "config.json").write_bytes(data)
            (place / "train.jsonl").write_text(GOOD)
            (place / "test.jsonl").write_text(GOOD)
            comes_to_words(lambda: planned(place, str(model)))

    each()
