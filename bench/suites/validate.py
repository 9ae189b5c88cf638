"""Checks before anything runs, so that no grid fails after an hour: templates on a few rows, numbers of rows, lengths,
devices, and the files that methods start from."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tunefront.bench.data.sampling import training_rows
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.models import checkpoints
from tunefront.bench.settings import read_spans
from tunefront.bench.templates import Template, find_template
from tunefront.bench.templates.choose import ALL, sample_rows, template_names
from tunefront.methods.base import Method
from tunefront.methods.spelling import label

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task
    from tunefront.bench.settings import RunConfig


Chosen = dict[tuple[str, str], tuple[str | None, ...]]
"""(backbone, task) -> names of templates; None if it uses none: for an encoder, and for regression."""


def check_template_users(parts: Iterable[tuple[Iterable[str | None], Iterable[str]]], wrong: ErrorCollector) -> None:
    """Checks that each named template is used by a language model; `parts` are pairs of (templates, backbones)."""
    readers: dict[str, dict[str, str]] = {}
    for templates, backbones in parts:
        families = _families(backbones)
        for name in templates:
            if name is not None and name != ALL:
                readers.setdefault(name, {}).update(families)
    for name, families in readers.items():
        if families and set(families.values()) == {"encoder"}:
            wrong.messages.append(
                f"template {name!r} was requested, but {' and '.join(families)} "
                f"{'is an encoder, which takes' if len(families) == 1 else 'are encoders, which take'} no template; "
                "leave it out, or give a language model."
            )


def templates_for(
    backbones: Iterable[str], tasks: Iterable[Task], names: Sequence[str | None], wrong: ErrorCollector
) -> tuple[Chosen, list[str]]:
    """The templates for each backbone and task, and warnings for those that `all` leaves out because they skip rows."""
    families = _families(backbones)
    chosen: Chosen = {}
    warnings: list[str] = []
    for task in tasks:
        own: tuple[str | None, ...] = (None,)
        if set(families.values()) - {"encoder"} and task.kind != "regression":  # a regression cell is skipped
            with wrong.collect():
                own = tuple(dict.fromkeys(each for name in names for each in template_names(task, name, warnings)))
        chosen |= {
            (backbone, task.name): (None,) if family == "encoder" else own for backbone, family in families.items()
        }
    return chosen, warnings


def check_prompts(chosen: Chosen, tasks: Iterable[Task], config: RunConfig, wrong: ErrorCollector) -> None:
    """Renders a few rows with each template, and tokenises the prompts for each language model."""
    users: dict[tuple[str, str], list[str]] = {}
    for (backbone, task), templates in chosen.items():
        for name in templates:
            if name is not None:
                users.setdefault((task, name), []).append(backbone)
    by_name = {task.name: task for task in tasks}
    for (task, name), backbones in users.items():
        check_template(
            by_name[task], find_template(by_name[task], name), backbones, sample_rows(by_name[task]), config, wrong
        )


def check_template(
    task: Task,
    template: Template,
    backbones: Iterable[str],
    rows: Sequence[Row],
    config: RunConfig,
    wrong: ErrorCollector,
) -> None:
    """Renders rows; if that succeeds, tokenises the prompts for each of these language models."""
    from tunefront.bench.models.config import check_encoding

    before = len(wrong.messages)
    with wrong.collect():
        for row in rows:
            template.render(task, row)
    for backbone in backbones if len(wrong.messages) == before else ():
        with wrong.collect(f"{backbone}: "):
            check_encoding(backbone, task, template, rows, config)


def check_files(methods: Iterable[Method], backbones: Sequence[str], wrong: ErrorCollector) -> None:
    """Checks that the files of every method are readable and fit at least one of the backbones, and what else a method
    checks itself: its packages and folders."""
    for method in methods:
        with wrong.collect(f"{label(method)}: "):
            try:
                method.check()
            except ValueError as error:
                raise UserError(str(error)) from error
        for path in (getattr(method, field) for field in method.files):
            if path is None:
                continue
            with wrong.collect(f"{label(method)}: "):
                header = checkpoints.header(path)
                known = _fingerprints(backbones) if header.backbone is not None else {}
                if known and header.backbone not in known.values():
                    raise UserError(
                        f"{path} was trained on {header.made_for}, whose weights are not those of "
                        f"{' or '.join(known)}; train one on this backbone with `tunefront pretrain`."
                    )


def check_rows(
    tasks: Iterable[Task],
    methods: Iterable[Method],
    shots: Iterable[int | None],
    draws: Iterable[int],
    config: RunConfig,
    wrong: ErrorCollector,
) -> None:
    """Draws and holds out rows as the cells will, and checks that each of these methods gets enough rows, so that none
    fails after others have run."""
    neediest = max(methods, key=lambda method: method.fewest_rows, default=None)
    for task, count, seed in itertools.product(tasks, shots, draws):
        with wrong.collect():
            n_train = len(task.splits["train"])
            drawn = n_train if count is None else min(count, n_train)
            if config.published_draws or config.balanced_draws or config.select:  # else the draw cannot be smaller
                drawn = len(training_rows(task, count, seed, config)[0])
            if neediest is not None and neediest.fewest_rows > drawn:
                state = "left after the hold-out for selection" if config.select else "drawn"
                raise UserError(
                    f"{label(neediest)} needs {neediest.fewest_rows} training rows, but {drawn} of {task.name} are "
                    f"{state} (its train split has {n_train}); use a method that needs fewer rows, or more --shots."
                )


def check_spans(backbones: Iterable[str], spans: str | None, wrong: ErrorCollector) -> None:
    """Checks that the spans of blocks to remove are within each backbone."""
    from tunefront.bench.models.config import block_count

    named = () if spans is None else read_spans(spans) or ()
    for backbone in dict.fromkeys(backbones) if named else ():
        with contextlib.suppress(UserError):  # reported when it was looked up
            blocks = block_count(backbone)
            for first, last in named:
                if last >= blocks:
                    wrong.messages.append(
                        f"removed_spans names the blocks {first}-{last}, but {backbone} has blocks 0 to {blocks - 1}; "
                        f"give spans within these, such as {max(0, blocks - 2)}-{blocks - 1}, or `all`."
                    )


def check_lengths(
    backbones: Iterable[str], tasks: Iterable[Task], max_length: int | None, wrong: ErrorCollector
) -> None:
    """Checks that max_length leaves room for at least a word, for each backbone and task."""
    from tunefront.bench.models.config import check_length

    for backbone, task in itertools.product(dict.fromkeys(backbones), tasks):
        with wrong.collect(f"{backbone}: "):
            check_length(backbone, task, max_length)


def check_device(device: str, elsewhere: bool = False) -> None:
    """UserError for an unknown device, or for one that this machine lacks, unless it is that of another machine."""
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise UserError(f"there is no device {device!r}; give cpu, cuda or cuda:N.")
    if kind == "cuda" and not elsewhere:
        import torch

        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if n_devices <= int(number or 0):
            raise UserError(
                f"device {device} was requested, but torch {torch.__version__} sees {n_devices or 'no'} CUDA "
                f"device{'s' if n_devices > 1 else ''} here; give --device cpu, or install a CUDA build of "
                "torch and its driver."
            )


def _families(backbones: Iterable[str]) -> dict[str, str]:
    """Backbone -> encoder, decoder or seq2seq."""
    from tunefront.bench.models.config import family_of

    families: dict[str, str] = {}
    for backbone in dict.fromkeys(backbones):
        with contextlib.suppress(UserError):  # reported when it was looked up
            families[backbone] = family_of(backbone)
    return families


def _fingerprints(backbones: Iterable[str]) -> Mapping[str, str]:
    from tunefront.bench.models.locate import fingerprint

    known: dict[str, str] = {}
    for backbone in backbones:
        with contextlib.suppress(UserError):  # reported when it was looked up
            known[backbone] = fingerprint(backbone)
    return known
