"""Where to push: `mlflow:URI` or `tensorboard:DIR`, without its secrets in anything that is shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from tunefront.bench.errors import UserError, unknown

MLFLOW, TENSORBOARD = "mlflow", "tensorboard"
EXAMPLES = {MLFLOW: "mlflow:http://localhost:5000", TENSORBOARD: "tensorboard:runs"}
"""Tracker -> how it is given."""
URI_VARIABLE = "MLFLOW_TRACKING_URI"
HIDDEN = "***"


@dataclass(frozen=True)
class Target:
    """A tracker and a place in it, as given with `--to`."""

    tracker: str
    place: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target of `TRACKER:PLACE`; UserError for another tracker, or without a place. The text after the colon is
        never part of a message, because it may hold a password."""
        name, _, place = text.strip().partition(":")
        place = place.strip() or (os.environ.get(URI_VARIABLE, "").strip() if name == MLFLOW else "")
        if name not in EXAMPLES:
            given = ", or ".join(EXAMPLES.values())
            raise UserError(unknown("tracker", name, EXAMPLES, f"Give {given}."))
        if not place:
            variable = f", or set {URI_VARIABLE}" if name == MLFLOW else ""
            raise UserError(f"{name}: no place is given; give {EXAMPLES[name]}{variable}.")
        return cls(name, place)


def secrets(uri: str) -> list[str]:
    """What of a URI may not be shown, longest first: user and password, and its query, where databases take them.

    >>> secrets("http://ann:p%20w@host"), secrets("postgresql://host/runs?password=x")
    (['ann:p%20w', 'p%20w', 'p w'], ['password=x'])
    """
    rest = uri.partition("://")[2]
    user = rest.rpartition("@")[0]  # a password may have a slash that nobody escaped
    password, query = user.partition(":")[2], rest.partition("?")[2]
    found = [user, password, unquote(password), query]
    return sorted(dict.fromkeys(filter(None, found)), key=len, reverse=True)


def without_secrets(text: str, uri: str) -> str:
    """A text without the secrets of a URI, such as the URI itself, or the message of a library that names it.

    >>> without_secrets("http://ann:pw@host does not answer", "http://ann:pw@host")
    'http://***@host does not answer'
    """
    for secret in secrets(uri):
        text = text.replace(secret, HIDDEN)
    return text


@contextmanager
def importing(extra: str) -> Iterator[None]:
    """UserError that says how to install an optional extra, if an import inside the block finds nothing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"pushing to {extra} needs a package that is not installed ({error.name}): pip install 'tunefront[{extra}]'"
        ) from error
