"""Prices that a user gives: of a device-hour, and of tokens. No price is part of Tunefront."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tunefront.bench.errors import UserError, nearest, unknown
from tunefront.reports.names import make_visible

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, Provider

FROM_PACKAGE = "genai:"
"""Start of a text that names a model of the package genai-prices instead of a file."""
PER_TOKENS = 1_000_000
"""List prices are those of so many tokens."""
MOST_BYTES = 100_000
HIGHEST = 1e12
"""Higher prices are mistakes, and their sums might overflow."""
LONGEST, LONGEST_CURRENCY = 200, 12
"""Characters of a source or name, and of a currency."""


@dataclass(frozen=True)
class Device:
    """The price of an hour of the device that the records ran on. `time_to_live`: seconds for which keys and values of
    a prefix are kept after their last use, None for ever."""

    hour: float
    name: str = ""
    time_to_live: float | None = None


@dataclass(frozen=True)
class List:
    """List prices of a million tokens: read (`input`), written (`output`), read from the cache, written to the cache
    (None: as `input`), and trained on (`training`). `time_to_live`: as for a device."""

    input: float
    output: float
    cached_read: float | None = None
    cache_write: float | None = None
    training: float | None = None
    time_to_live: float | None = None


@dataclass(frozen=True)
class Prices:
    """Prices in one currency, with the day on which they held and where they are from."""

    currency: str
    date: str
    source: str
    device: Device | None = None
    tokens: List | None = None

    @property
    def stamp(self) -> str:
        """What is printed with every figure.

        >>> Prices("EUR", "2026-01-31", "our contract").stamp
        'Prices in EUR as of 2026-01-31, from our contract.'
        """
        return f"Prices in {self.currency} as of {self.date}, from {self.source}."


Table = TypeVar("Table", Device, List)
KEYS = ("currency", "date", "source", "device", "tokens")
REQUIRED = {Device: ("hour",), List: ("input", "output")}
TEXTS = ("name",)


def read_prices(source: str | Path | Prices) -> Prices:
    """The prices of a TOML file, or of a model in the package genai-prices (`genai:MODEL`). UserError if they are not
    usable."""
    if isinstance(source, Prices):
        return source
    text = str(source)
    if text.startswith(FROM_PACKAGE):
        return _of_package(text.removeprefix(FROM_PACKAGE))
    return _of_file(Path(source))


def _of_file(path: Path) -> Prices:
    shown = make_visible(str(path))
    try:
        if not path.is_file():
            raise UserError(f"there is no file of prices {shown}; docs/costs.md has an example.")
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{shown} is larger than {MOST_BYTES // 1000} kB, which no file of prices is.")
        content = tomllib.loads(path.read_bytes().decode("utf-8"))
    except UserError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # also a path with a null byte, and no UTF-8
        reason = error.strerror if isinstance(error, OSError) else make_visible(str(error)[:LONGEST])
        raise UserError(f"the prices in {shown} cannot be read as TOML: {reason}.") from error
    try:
        return _of_tables(content)
    except UserError as error:
        raise UserError(f"{shown}: {error}") from error


def _of_tables(content: Mapping[str, Any]) -> Prices:  # Any: the values of a TOML file
    for key in content:
        if key not in KEYS:
            raise UserError(unknown("key", key, KEYS))
    missing = [key for key in KEYS[:3] if key not in content]
    if missing:
        raise UserError(f"{missing[0]} is missing; it is printed with every price.")
    device, tokens = _table("device", Device, content.get("device")), _table("tokens", List, content.get("tokens"))
    if device is None and tokens is None:
        raise UserError("it has no price; give a table [device], [tokens] or both.")
    currency, source = _text("currency", content["currency"], LONGEST_CURRENCY), _text("source", content["source"])
    return Prices(currency, _date(content["date"]), source, device, tokens)


def _table(name: str, kind: type[Table], value: object) -> Table | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UserError(f"{name} must be a table, [{name}].")
    known = [field.name for field in fields(kind)]
    for key in value:
        if key not in known:
            raise UserError(f"[{name}] has {unknown('key', key, known)}")
    for key in REQUIRED[kind]:
        if key not in value:
            raise UserError(f"[{name}] lacks {key}.")
    read = {key: _text(key, item) if key in TEXTS else _number(f"{name}.{key}", item) for key, item in value.items()}
    return kind(**read)  # type: ignore[arg-type]


def _number(key: str, value: object) -> float:
    """A price, or seconds; UserError unless it is a number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{key} must be a number, got {make_visible(repr(value)[:LONGEST])}.")
    if not 0 <= value <= HIGHEST:  # NaN is neither
        raise UserError(f"{key} must be a number from 0 to {HIGHEST:.0e}, got {str(value)[:20]}.")
    return float(value)


def _text(key: str, value: object, longest: int = LONGEST) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise UserError(f"{key} must be a text of 1 to {longest} characters, got {make_visible(repr(value)[:20])}.")
    return make_visible(value.strip())


def _date(value: object) -> str:
    """The day as ISO 8601, given as a date of TOML or as a text."""
    try:
        if isinstance(value, datetime.date):
            return value.isoformat()[:10]
        if isinstance(value, str):
            return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise UserError(f"date must be a day such as 2026-01-31, got {make_visible(repr(value)[:LONGEST])}.")


def _of_package(model: str) -> Prices:
    """The list prices of a model, from the data inside the installed package; no network is used."""
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError as error:
        raise UserError(
            f"{FROM_PACKAGE}{make_visible(model)} needs the package genai-prices; install it with "
            "pip install 'tunefront[prices]', or give a file of prices."
        ) from error
    snapshot, today = get_snapshot(), datetime.datetime.now(datetime.UTC)
    wanted, _, name = model.rpartition("/")
    try:
        provider, found = snapshot.find_provider_model(name, None, wanted or None, None)
    except LookupError as error:
        names = [known.id for provider in snapshot.providers for known in provider.models]
        near = nearest(model, names)
        hint = f"; did you mean {near!r}?" if near else "."
        version = metadata.version("genai-prices")
        raise UserError(f"genai-prices {version} has no model {make_visible(model)[:LONGEST]!r}{hint}") from error
    return Prices(
        "USD", today.date().isoformat(), _source(provider, found.id), tokens=_list(found.get_prices(today), found.id)
    )


def _source(provider: Provider, model: str) -> str:
    pages = f" ({provider.pricing_urls[0]})" if provider.pricing_urls else ""
    return f"the package genai-prices {metadata.version('genai-prices')}: {provider.id}/{model}{pages}"


def _list(prices: ModelPrice, model: str) -> List:
    """The package's prices of a million tokens; of those that rise with the length of a prompt, the first."""
    names = {
        "input": "input_mtok",
        "output": "output_mtok",
        "cached_read": "cache_read_mtok",
        "cache_write": "cache_write_mtok",
    }
    found = {name: getattr(prices, field, None) for name, field in names.items()}
    known = {name: float(getattr(price, "base", price)) for name, price in found.items() if price is not None}
    if not {"input", "output"} <= known.keys():
        raise UserError(f"genai-prices has no price of input and output tokens of {make_visible(model)!r}.")
    return List(**known)
