"""Which cells a call asks for: what it gives in the place of a suite's lists, and how a command line gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.suites.lists import listed
from tunefront.bench.suites.values import read_draw, read_seed, read_shots
from tunefront.methods.base import Method

Text = str | Sequence[str] | None
"""An option as typed: once, several times, or not at all."""
Texts = Mapping[str, Text]
"""Options as typed, by the names of the fields of `Overrides`."""


@dataclass(frozen=True)
class Option:
    """How a command line gives a field of `Overrides`: as --NAME, with pytest as --tunefront-NAME.

    Args: metavar and help, what --help shows; repeatable, whether it may be given several times; commas, whether a text
    is a list of values; read, what makes a value of one of them, UserError for one that is wrong.
    """

    name: str
    metavar: str
    help: str
    repeatable: bool = True
    commas: bool = False
    read: Callable[[object], object] = str

    def values(self, text: Text, wrong: ErrorCollector) -> list[Any] | None:  # Any: each option has values of its own
        """The values of what was typed; None where nothing was, or nothing of use."""
        values: list[Any] = []
        with wrong.collect():
            texts = listed(f"--{self.name}", [text] if isinstance(text, str) else text, self.commas)
            values = self.read_all(texts or (), wrong)
        return values or None

    def read_all(self, values: Iterable[object], wrong: ErrorCollector) -> list[Any]:  # Any: as above
        """Those that are right; what is wrong with the others is gathered."""
        right: list[Any] = []
        for value in values:
            with wrong.collect():
                right.append(self.read(value))
        return right


def _given_by(**option: Any) -> Any:  # Any: as `dataclasses.field` has it
    """A field that a call may leave out, and how a command line gives it."""
    return field(default=None, metadata={"option": Option(**option)})


def _read_method(value: object) -> object:
    if isinstance(value, str | Method):
        return value
    raise UserError(
        f"methods must be spelled or instances, as in methods=['houlsby:bottleneck=8', MyMethod()], got {value!r}."
    )


def _read_name(value: object) -> str:
    if isinstance(value, str):
        return value
    raise UserError(f"names of backbones, tasks and templates must be texts, got {value!r}.")


def _read_template(value: object) -> str | None:
    return None if value is None else _read_name(value)


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """Which cells a call asks for: each list that is given replaces that of every part of the suite.

    Of several parts, `backbones` chooses: a part keeps those that it names, or takes all if it names none, and is left
    out if none remain; a backbone that no part names runs the first part, and any other with the same backbones.
    `methods` are spelled or instances; None in `shots` is every training row; `settings` are fields of the recipe or of
    the run settings, which no suite and no search overrides, and `device` is one of them; `more_methods` join the
    methods of the suite or of the call. Relative paths start at the working directory.

    Each field says here how a command line gives it: `tunefront run`, `tunefront plan` and the pytest plugin have these
    options. Errors: UserErrors with all values that are wrong.
    """

    methods: Sequence[str | Method] | None = _given_by(
        name="method",
        metavar="M",
        help="As spelled in records, houlsby:bottleneck=8, or file.py:Class:field=value.",
        read=_read_method,
    )
    backbones: Sequence[str] | None = _given_by(
        name="backbone",
        metavar="B",
        help="An embedded name, a folder or a Hub id; chooses parts of SUITE.",
        read=_read_name,
    )
    tasks: Sequence[str] | None = _given_by(
        name="task", metavar="T", help="docstrings/NAME, dir:FOLDER or hub:NAME.", read=_read_name
    )
    shots: Sequence[int | None] | None = _given_by(
        name="shots",
        metavar="K",
        help="Training rows to draw, or `all`; 16,64 for several.",
        commas=True,
        read=read_shots,
    )
    draws: Sequence[int] | None = _given_by(
        name="draws",
        metavar="N,N",
        help="Seeds of the draws of training rows, as 0,1.",
        commas=True,
        repeatable=False,
        read=read_draw,
    )
    seeds: Sequence[int] | None = _given_by(
        name="seeds",
        metavar="N,N",
        help="Training seeds, as 0,1.",
        commas=True,
        repeatable=False,
        read=read_seed,
    )
    templates: Sequence[str | None] | None = _given_by(
        name="template",
        metavar="T",
        help="A prompt template by name, or all of the task's own; encoders take none.",
        read=_read_template,
    )
    settings: Mapping[str, object] | None = _given_by(
        name="set", metavar="KEY=VALUE", help="A field of the recipe or the run settings, learning_rate=1e-3."
    )
    device: str | None = _given_by(name="device", metavar="D", help="cpu, cuda or cuda:N.", repeatable=False)
    more_methods: Sequence[Method] = ()

    def __post_init__(self) -> None:
        wrong = ErrorCollector()
        for name, option in OPTIONS.items():
            values = getattr(self, name)
            if name in _NO_LISTS or values is None:
                continue
            with wrong.collect():
                if isinstance(values, str) or not isinstance(values, Iterable):
                    raise UserError(f"{name} must be a list, as in {name}=[{values!r}], got {values!r}.")
                object.__setattr__(self, name, tuple(option.read_all(values, wrong)))
        with wrong.collect():
            self.all_settings()
        wrong.raise_if_any()

    def all_settings(self) -> dict[str, object]:
        """The settings and the device; UserError where they name the device twice."""
        settings = dict(self.settings or {})
        if self.device is not None and "device" in settings:
            raise UserError(_twice("device", self.device, settings["device"]))
        return settings if self.device is None else {"device": self.device, **settings}

    @classmethod
    def from_texts(cls, texts: Texts, wrong: ErrorCollector, *, more_methods: Sequence[Method] = ()) -> Overrides:
        """What a command line gives, by the names of the fields; what is wrong in it is gathered, and left out."""
        values = {name: option.values(texts.get(name), wrong) for name, option in OPTIONS.items()}
        device = next(iter(values.pop("device") or ()), None)
        settings = split_settings(values.pop("settings") or (), device, wrong)
        return cls(**values, settings=settings, device=device, more_methods=more_methods)


OPTIONS: Mapping[str, Option] = {
    known.name: known.metadata["option"] for known in fields(Overrides) if "option" in known.metadata
}
"""The fields of `Overrides` that a command line gives, and how."""
_NO_LISTS = ("settings", "device")


def split_settings(texts: Iterable[str], device: str | None, wrong: ErrorCollector) -> dict[str, object]:
    """`key=value` texts -> value by key; the device may not be among them where it is given by itself."""
    settings: dict[str, object] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            wrong.messages.append(f"--set takes key=value, got {text!r}; for example --set learning_rate=1e-3.")
        elif name in settings:
            wrong.messages.append(_twice(name, settings[name], value))
        elif name == "device" and device is not None:
            wrong.messages.append(_twice(name, device, value))
        else:
            settings[name] = value
    return settings


def _twice(name: str, first: object, second: object) -> str:
    return f"{name} is set twice, to {first} and {second}; give one of them."
