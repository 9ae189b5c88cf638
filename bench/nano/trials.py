"""Tasks that measure in-context learning of `nano` on held-out libraries, with this project's `icl`.

A task's classes are source files of one held-out library, so neither the classes nor the texts were in training. Each
task is a folder that `dir:` loads, so any other method or model can be measured on it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from tunefront.bench.files import writing
from tunefront.bench.nano.corpus import held_out_snippets
from tunefront.bench.nano.tokens import LABELS

if TYPE_CHECKING:
    from tunefront.bench.nano.corpus import Snippet

TRAIN, TEST = 32, 16
"""Rows per class: enough for 32 random demonstrations, most of which may be of one class."""

WAYS = {2: 24, 4: 16}
"""Number of tasks by number of classes."""
SHOTS, DRAWS, ORDERS = (0, 1, 2, 4, 8, 16, 32), (0, 1, 2), (0, 1, 2, 3, 4)
MEASURED_AT = 16
"""Demonstrations in the variants: another order, permuted labels, or other label names."""
_WORDS = ("river", "table", "green", "music", "winter", "paper", "garden", "silver")
_LETTERS = ("A", "B", "C", "D", "E", "F", "G", "H")
_SUITE = """\
# {about}
methods = [{methods}]
backbones = ["nano"]
tasks = [
{tasks}
]
shots = [{shots}]
draws = {draws}
seeds = [0]
"""

_FEW_SHOT = """\
# The T-Few comparison on nano: 32 rows, the recipe of suite tfew2022 cut to 60 steps
methods = ["ia3", "houlsby", "full", "features", {name = "icl", k = [0, 4, 16, 32]}]
backbones = ["nano"]
tasks = ["docstrings/library", "docstrings/kind", "docstrings/param_type", "docstrings/match"]
templates = ["plain"]
shots = [32]
draws = [0, 1, 2, 3, 4]
seeds = [0]

[recipe]
optimizer = "adafactor"
steps = 60
batch_size = 8
warmup = 0.06
weight_decay = 0.0
likelihood_weight = 1.0
unlikelihood_weight = 1.0
length_normalised_weight = 1.0

[recipe.ia3]
learning_rate = 3e-3

[recipe.full]
learning_rate = 3e-4

[recipe.houlsby]
learning_rate = 3e-3

[recipe.features]
optimizer = "adamw"
learning_rate = 3e-3
steps = 300

[settings]
eval_rows = 200
normalization = "token"
"""
_AGAINST_FRESH = """\
# What training gave: full fine-tuning on all rows from nano, and from random weights of its shape
methods = ["full"]
backbones = ["nano", "fresh"]
tasks = ["docstrings/library", "docstrings/kind", "docstrings/param_type", "docstrings/match"]
templates = ["plain"]
shots = ["all"]
draws = [0]
seeds = [0]

[recipe]
epochs = 2
batch_size = 16
learning_rate = 3e-4
"""


@dataclass(frozen=True)
class Trial:
    """A task of source files: its name, the snippets of each class, and the label names."""

    name: str
    classes: tuple[tuple[Snippet, ...], ...]
    labels: tuple[str, ...]

    @property
    def variants(self) -> Iterator[Trial]:
        """The same rows with other labels: permuted, words, letters, and file names."""
        files = tuple(PurePosixPath(snippets[0].path).stem.strip("_").replace("_", " ") for snippets in self.classes)
        ways = len(self.classes)
        named = {
            "permuted": (*self.labels[1:], self.labels[0]),
            "words": _WORDS[:ways],
            "letters": _LETTERS[:ways],
            "files": files,
        }
        for name, labels in named.items():
            if len(set(labels)) == ways:
                yield replace(self, name=f"{self.name}-{name}", labels=labels)


def trials(snippets: Sequence[Snippet], ways: int, number: int, seed: int = 0) -> list[Trial]:
    """`number` tasks of `ways` files of one library, each library in turn; labels are random reserved tokens.

    Errors: ValueError if no library has enough files.
    """
    rng = np.random.default_rng([seed, ways])
    by_file: dict[str, list[Snippet]] = defaultdict(list)
    for snippet in snippets:
        by_file[snippet.path].append(snippet)
    files: dict[str, list[str]] = defaultdict(list)
    for path, in_file in sorted(by_file.items()):
        if len(in_file) >= TRAIN + TEST:
            files[in_file[0].library].append(path)
    libraries = sorted(library for library, paths in files.items() if len(paths) >= ways)
    if not libraries:
        raise ValueError(f"no library has {ways} files with at least {TRAIN + TEST} snippets")
    made = []
    for place in range(number):
        library = libraries[place % len(libraries)]
        chosen = rng.choice(files[library], ways, replace=False)
        classes = tuple(
            tuple(by_file[path][row] for row in rng.permutation(len(by_file[path]))[: TRAIN + TEST]) for path in chosen
        )
        labels = tuple(LABELS[at].strip() for at in rng.permutation(len(LABELS))[:ways])
        made.append(Trial(f"{ways}way-{place:02d}-{library}", classes, labels))
    return made


def write(trial: Trial, folder: Path) -> Path:
    """Writes the task for `dir:`: train.jsonl, test.jsonl and meta.json; returns its folder."""
    home = folder / trial.name
    home.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    for label, snippets in enumerate(trial.classes):
        for place, snippet in enumerate(snippets):
            row = {"text": snippet.text, "label": label, "source": snippet.path}
            rows["train" if place < TRAIN else "test"].append(row)
    for split, split_rows in rows.items():
        with writing(home / f"{split}.jsonl") as file:
            file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in split_rows)
    meta = {
        "task_type": "classification",
        "label_names": list(trial.labels),
        "input_fields": ["text"],
        "label_field": "label",
        "metrics": ["accuracy"],
    }
    with writing(home / "meta.json") as file:
        file.write(json.dumps(meta, indent=1).encode())
    return home


def write_all(folder: Path, packages: Path | None) -> list[Path]:
    """Writes all tasks and the suites that measure on them: the curve over k, the order, and the labels."""
    snippets = held_out_snippets(packages)
    base = [trial for ways, number in WAYS.items() for trial in trials(snippets, ways, number)]
    variants = [variant for trial in base for variant in trial.variants]
    for trial in (*base, *variants):
        write(trial, folder)
    curve = f'{{name = "icl", k = {list(SHOTS)}}}'
    orders = f'{{name = "icl", k = {MEASURED_AT}, order = {list(ORDERS)}}}'
    plain = f'"icl:k={MEASURED_AT}"'
    with writing(folder / "few_shot.toml") as file:
        file.write(_FEW_SHOT.encode())
    with writing(folder / "against_fresh.toml") as file:
        file.write(_AGAINST_FRESH.encode())
    return [
        _suite(folder, "curve", "nano on classes and libraries that it never saw", curve, base, DRAWS),
        _suite(folder, "order", "the same demonstrations in other orders", orders, base, DRAWS[:1]),
        _suite(folder, "labels", "the same demonstrations under other labels", plain, (*base, *variants), DRAWS[:1]),
    ]


def _suite(folder: Path, name: str, about: str, methods: str, chosen: Iterable[Trial], draws: Sequence[int]) -> Path:
    listed = "\n".join(f'    "dir:{trial.name}",' for trial in chosen)
    place = folder / f"{name}.toml"
    with writing(place) as file:
        text = _SUITE.format(about=about, methods=methods, tasks=listed, shots=max(SHOTS), draws=list(draws))
        file.write(text.encode())
    return place
