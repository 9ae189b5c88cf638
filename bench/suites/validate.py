"""What is checked before anything runs, so that no grid fails after an hour: templates, on a few rows, and the files
that methods start from."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tunefront.bench.data.sampling import training_rows
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.models import checkpoints
from tunefront.bench.templates import Template, find_template
from tunefront.bench.templates.choose import ALL, sample_rows, template_names
from tunefront.methods.base import Method
from tunefront.methods.spelling import label

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task
    from tunefront.bench.settings import RunConfig


Chosen = dict[tuple[str, str], tuple[str | None, ...]]
"""(backbone, task) -> names of templates; None where there are none: for an encoder, and for regression."""


def check_template_users(asked: Iterable[tuple[Iterable[str | None], Iterable[str]]], wrong: ErrorCollector) -> None:
    """Sees that each template that is named, of (templates, backbones), is read by a language model somewhere."""
    readers: dict[str, dict[str, str]] = {}
    for templates, backbones in asked:
        families = _families(backbones)
        for name in templates:
            if name is not None and name != ALL:
                readers.setdefault(name, {}).update(families)
    for name, families in readers.items():
        if families and set(families.values()) == {"encoder"}:
            wrong.messages.append(
                f"template {name!r} was asked for, but {' and '.join(families)} "
                f"{'is an encoder, which takes' if len(families) == 1 else 'are encoders, which take'} no template; "
                "leave it out, or give a language model."
            )


def templates_for(
    backbones: Iterable[str], tasks: Iterable[Task], asked: Sequence[str | None], wrong: ErrorCollector
) -> tuple[Chosen, list[str]]:
    """The templates of each backbone and task, and a warning for those that `all` leaves out since they skip rows."""
    families = _families(backbones)
    found: Chosen = {}
    warnings: list[str] = []
    for task in tasks:
        own: tuple[str | None, ...] = (None,)
        if set(families.values()) - {"encoder"} and task.kind != "regression":  # that is a skipped cell
            with wrong.collect():
                own = tuple(dict.fromkeys(name for one in asked for name in template_names(task, one, warnings)))
        found |= {(backbone, task.name): (None,) if kind == "encoder" else own for backbone, kind in families.items()}
    return found, warnings


def check_prompts(chosen: Chosen, tasks: Iterable[Task], config: RunConfig, wrong: ErrorCollector) -> None:
    """Renders a few rows by each template, and tokenises what comes out for each language model."""
    asked: dict[tuple[str, str], list[str]] = {}
    for (backbone, task), templates in chosen.items():
        for name in templates:
            if name is not None:
                asked.setdefault((task, name), []).append(backbone)
    by_name = {task.name: task for task in tasks}
    for (task, name), backbones in asked.items():
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
    """Renders rows, and where that goes well tokenises what comes out for each of these language models."""
    from tunefront.bench.models.config import check_encoding

    before = len(wrong.messages)
    with wrong.collect():
        for row in rows:
            template.render(task, row)
    for backbone in backbones if len(wrong.messages) == before else ():
        with wrong.collect(f"{backbone}: "):
            check_encoding(backbone, task, template, rows, config)


def check_files(asked: Iterable[Method], backbones: Sequence[str], wrong: ErrorCollector) -> None:
    """Sees that the files of every method can be read, and go with at least one of the backbones."""
    for method in asked:
        for path in checkpoints.files_of(method).values():
            with wrong.collect(f"{label(method)}: "):
                header = checkpoints.header(path)
                known = _fingerprints(backbones) if header.backbone is not None else {}
                if known and header.backbone not in known.values():
                    raise UserError(
                        f"{path} was made for {header.made_for}, whose files are not those of {' or '.join(known)}: "
                        "what was trained goes with the weights it was trained on; make one for this backbone with "
                        "`tunefront pretrain`."
                    )


def check_rows(
    tasks: Iterable[Task],
    asked: Iterable[Method],
    shots: Iterable[int | None],
    draws: Iterable[int],
    config: RunConfig,
    wrong: ErrorCollector,
) -> None:
    """Draws and holds out as the cells will, and sees that each of these methods gets as many rows as it needs, so that
    none finds too few after others have run."""
    neediest = max(asked, key=lambda method: method.fewest_rows, default=None)
    for task, count, seed in itertools.product(tasks, shots, draws):
        with wrong.collect():
            held = len(task.splits["train"])
            drawn = held if count is None else min(count, held)
            if config.published_draws or config.balanced_draws or config.select:  # else nothing can go wrong
                drawn = len(training_rows(task, count, seed, config)[0])
            if neediest is not None and neediest.fewest_rows > drawn:
                left = "left of those drawn, once some are held out to select on" if config.select else "drawn"
                raise UserError(
                    f"{label(neediest)} needs {neediest.fewest_rows} training rows, but {drawn} of {task.name} are "
                    f"{left} ({held} are in its train split); ask for fewer, or for more shots."
                )


def check_lengths(
    backbones: Iterable[str], tasks: Iterable[Task], max_length: int | None, wrong: ErrorCollector
) -> None:
    """Sees that max_length leaves each backbone room for a word of each task."""
    from tunefront.bench.models.config import check_length

    for backbone, task in itertools.product(dict.fromkeys(backbones), tasks):
        with wrong.collect(f"{backbone}: "):
            check_length(backbone, task, max_length)


def check_device(device: str) -> None:
    """UserError for a device that is unknown, or not there."""
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise UserError(f"there is no device {device!r}; give cpu, cuda or cuda:N.")
    if kind == "cuda":
        import torch

        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found <= int(number or 0):
            raise UserError(
                f"device {device} was asked for, but torch {torch.__version__} sees {found or 'no'} CUDA device"
                f"{'s' if found > 1 else ''} here; give --device cpu, or install a CUDA build of torch and its driver."
            )


def _families(backbones: Iterable[str]) -> dict[str, str]:
    """Backbone -> encoder, decoder or seq2seq."""
    from tunefront.bench.models.config import family_of

    families: dict[str, str] = {}
    for backbone in dict.fromkeys(backbones):
        with contextlib.suppress(UserError):  # told where it was looked up
            families[backbone] = family_of(backbone)
    return families


def _fingerprints(backbones: Iterable[str]) -> Mapping[str, str]:
    from tunefront.bench.models.locate import fingerprint

    known: dict[str, str] = {}
    for backbone in backbones:
        with contextlib.suppress(UserError):  # told where it was looked up
            known[backbone] = fingerprint(backbone)
    return known
