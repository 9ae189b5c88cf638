"""Runs of an MLflow server or store, one per record, found again by the record's key.

MLflow keeps parameters for ever and deletes no metric of a run. So a record that has changed updates its run where that
is enough, and takes the place of its run where a value would have to go.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from posixpath import normpath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tunefront.bench.errors import UserError, in_short
from tunefront.reports.names import elide
from tunefront.reports.trackers.content import Content, is_field, spell
from tunefront.reports.trackers.target import MLFLOW, importing, without_secrets
from tunefront.reports.units import plural

V = TypeVar("V")

STATUS = {"ok": "FINISHED", "failed": "FAILED", "skipped": "KILLED"}
"""A record's status -> that of its run: MLflow has none for skipped."""
KEY, DIGEST = "key", "record_sha256"
"""The tags of a run that name its record, and the content that it has whole."""
FILE = "record.json"
"""The artifact with the whole record."""
LONGEST_NAME, LONGEST_VALUE = 250, 500
"""Characters that every MLflow server since 1.0 takes. Newer ones take longer values."""
MOST_METRICS, MOST_TEXTS = 200, 100
"""Entities of a kind in a request: at most 100 parameters and 100 tags, and a request has at most 1 MB."""
PAGE = 200
SHOWN = 80
"""Characters of a name that a note shows."""
_FORBIDDEN = re.compile(r"[^\w.\- /]" if os.name == "nt" else r"[^\w.\- /:]")
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; MLflow's own defaults try for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a push reaches the server that was asked for, and no other
}
"""Environment variables of MLflow while records are pushed, unless the user has set them."""


class Runs:
    """The runs of an experiment. `place` names it without secrets; `notes` says what MLflow could not take."""

    def __init__(self, uri: str, experiment: str) -> None:
        self._uri, self._experiment = uri, experiment
        self._misfits: dict[str, str] = {}
        self._without_file: list[str] = []
        self._server = f"MLflow at {without_secrets(uri, uri)}"
        self.place = f"the experiment {experiment!r} of {self._server}"
        with self._asking():
            with importing(MLFLOW):
                from mlflow.tracking import MlflowClient
            self._client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)  # Any: mlflow has no types here
            self._id = self._experiment_id()
            self._known = self._runs()

    def push(self, content: Content) -> str:
        """Makes or updates the run of a record; `new`, `changed` or `same`. What an earlier call left half done is
        done again."""
        run = self._known.get(content.key)
        if run is not None and run.data.tags.get(DIGEST) == content.digest:
            return "same"
        with self._asking():
            metrics = self._fitted(content.metrics)
            params = {name: self._cut(name, spell(value)) for name, value in self._fitted(content.params).items()}
            tags = {name: self._cut(name, text) for name, text in self._fitted(content.tags).items()}
            old = run
            if run is not None and _must_go(run.data, metrics, params):
                self._client.delete_run(run.info.run_id)
                run = None
            if run is None:
                start = {"start_time": _milliseconds(content) - round(1000 * content.seconds), "run_name": content.name}
                run = self._known[content.key] = self._client.create_run(self._id, tags={KEY: content.key}, **start)
            self._fill(run, content, metrics, params, tags)
        return "new" if old is None else "changed"

    @property
    def notes(self) -> Iterator[str]:
        """What is different in MLflow, and what is missing there, a sentence each."""
        if self._misfits:
            first, why = next(iter(self._misfits.items()))
            yield (
                f"{plural(len(self._misfits), 'name or text', 'names or texts')} did not fit MLflow's limits, such as "
                f"{first!r}, {why}. The {FILE} of each run has the record as it is."
            )
        if self._without_file:
            yield (
                f"{FILE}, the whole record, could not be stored with {plural(len(self._without_file), 'run')} "
                f"({self._without_file[0]}): what only it has, such as lists, is missing there. The next push tries "
                "again."
            )

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            return self._client.create_experiment(self._experiment)
        if found.lifecycle_stage != "active":
            raise UserError(f"{self.place} was deleted there; restore it in MLflow, or give another --experiment.")
        return found.experiment_id

    def _runs(self) -> dict[str, Any]:
        """Key -> its run, the oldest if there are several."""
        found: dict[str, Any] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._id],
                f"tags.{KEY} LIKE '%'",
                max_results=PAGE,
                order_by=["attributes.start_time"],
                page_token=token,
            )
            for run in page:
                found.setdefault(run.data.tags[KEY], run)
            token = page.token
            if not token:
                return found

    def _fill(
        self,
        run: Any,
        content: Content,
        metrics: Mapping[str, int | float],
        params: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        """Writes a run's content, the digest last: a run without it is not whole."""
        from mlflow.entities import Metric, Param, RunTag

        name, written = run.info.run_id, _milliseconds(content)
        for gone in sorted(tag for tag in run.data.tags if is_field(tag) and tag not in tags):
            self._client.delete_tag(name, gone)
        self._client.set_terminated(name, STATUS.get(content.status, "FINISHED"), written)
        whole = {DIGEST: content.digest} if self._stored(run, content.whole) else {}
        numbers = _portions([Metric(key, float(value), written, 0) for key, value in metrics.items()], MOST_METRICS)
        known = run.data.params
        texts = _portions([Param(key, value) for key, value in params.items() if key not in known], MOST_TEXTS)
        labels = _portions([RunTag(key, value) for key, value in {**tags, **whole}.items()], MOST_TEXTS)
        batches = max(len(numbers), len(texts), len(labels))
        for number in range(-batches, 0):  # the last of each together, so that the digest comes after everything
            self._client.log_batch(
                name, *(part[number] if -number <= len(part) else [] for part in (numbers, texts, labels))
            )

    def _stored(self, run: Any, whole: str) -> bool:
        """Whether the record is stored with its run, as a file. A server that keeps its artifacts in a folder and does
        not serve them would have the client write into a folder of that name on this machine."""
        folder = urlsplit(run.info.artifact_uri).scheme in ("", "file")
        if folder and urlsplit(self._uri).scheme in ("http", "https"):
            self._without_file.append("the server does not take files: start it with --serve-artifacts")
            return False
        try:
            self._client.log_text(run.info.run_id, whole, FILE)
        except Exception as error:  # stores of artifacts have libraries of their own
            self._without_file.append(self._in_short(error))
            return False
        return True

    def _fitted(self, fields: Mapping[str, V]) -> dict[str, V]:
        """The fields by names that MLflow takes."""
        return {self._name(name): value for name, value in fields.items()}

    def _name(self, name: str) -> str:
        fitting = fitting_name(name)
        if fitting != name:
            self._misfits.setdefault(elide(name, SHOWN), f"which is {elide(fitting, SHOWN)!r} there")
        return fitting

    def _cut(self, name: str, text: str) -> str:
        if len(text) <= LONGEST_VALUE:
            return text
        self._misfits.setdefault(elide(name, SHOWN), f"of which {LONGEST_VALUE - 1} characters are there")
        return f"{text[: LONGEST_VALUE - 1]}…"

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """UserError, without secrets, for whatever MLflow raises: its errors have many types, and those of its stores
        more."""
        try:
            with _patience():
                yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(self._explained(error)) from None  # the cause may name the URI with its password

    def _in_short(self, error: BaseException) -> str:
        """An error in a line, whose secrets go before it is cut."""
        text = without_secrets(str(error), self._uri)
        return f"{type(error).__name__}: {in_short(UserError(text or 'no reason given'))}"

    def _explained(self, error: Exception) -> str:
        """What went wrong, and what to do."""
        text = self._in_short(error)
        if urlsplit(self._uri).scheme not in ("http", "https") and _needs_more(error):
            return (
                f"{self._server} is a kind of store for which the whole of MLflow has to be installed on this machine "
                f"(`pip install mlflow`): {text}"
            )
        if "Max retries" in text or "timed out" in text:
            return (
                f"{self._server} cannot be reached ({self._in_short(_first(error))}); check the address, and that "
                "`mlflow server` runs there."
            )
        if re.search(r"\b40[13]\b|PERMISSION_DENIED|UNAUTHENTICATED", text):
            return (
                f"{self._server} refuses ({text}); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                "MLFLOW_TRACKING_TOKEN."
            )
        return (
            f"{self._server} cannot be used ({text}); give the URI of an MLflow server, such as http://localhost:5000."
        )


def _needs_more(error: Exception) -> bool:
    """Whether an error is one of the client alone, which knows servers and folders only."""
    return isinstance(error, ImportError) or type(error).__name__.startswith("Unsupported")


def _first(error: BaseException) -> BaseException:
    """The error that led to this one."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def fitting_name(name: str) -> str:
    """A name that MLflow takes for a metric, a parameter or a tag: one that had to change ends with a hash of what it
    was, so that two names stay two.

    >>> fitting_name("scores.test.accuracy"), fitting_name("data.label_counts.A & B")
    ('scores.test.accuracy', 'data.label_counts.A _ B-5e1419f3')
    """
    if not _FORBIDDEN.search(name) and len(name) <= LONGEST_NAME and _is_own_path(name):
        return name
    ending = f"-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
    plain = _FORBIDDEN.sub("_", name)[: LONGEST_NAME - len(ending)]
    return f"{plain if _is_own_path(plain) else plain.replace('/', '_').replace('..', '__')}{ending}"


def _is_own_path(name: str) -> bool:
    """Whether a name is that of a file in some folder, which MLflow's stores may make of it."""
    return normpath(name) == name and name != "." and not name.startswith(("..", "/"))


def _must_go(data: Any, metrics: Mapping[str, int | float], params: Mapping[str, str]) -> bool:
    """Whether a run holds a metric that the record has no more, or another value of a parameter."""
    return any(is_field(name) and params.get(name) != value for name, value in data.params.items()) or any(
        is_field(name) and name not in metrics for name in data.metrics
    )


def _milliseconds(content: Content) -> int:
    return round(1000 * content.ended.timestamp())


def _portions(entities: Sequence[V], size: int) -> list[Sequence[V]]:
    return [entities[start : start + size] for start in range(0, len(entities), size)]


@contextmanager
def _patience() -> Iterator[None]:
    """Sets PATIENCE, and keeps the lines about every retry out of the terminal."""
    added = {name: value for name, value in PATIENCE.items() if name not in os.environ}
    os.environ.update(added)
    log = logging.getLogger("urllib3.connectionpool")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        for name in added:
            os.environ.pop(name, None)
