"""Runs of a real MLflow server. They need MLflow's client, and the server that `tox -e mlflow` installs."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.records.made import changed
from tests.reports.factory import failed, ledger, record
from tests.reports.trackers import server
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record, Records
from tunefront.reports.trackers import mlflow_runs
from tunefront.reports.trackers.content import content
from tunefront.reports.trackers.mlflow_runs import FILE, LONGEST_NAME, LONGEST_VALUE, Runs, fitting_name
from tunefront.reports.trackers.push import EXPERIMENT, experiment_of, push

pytest.importorskip("mlflow")

IA3 = ledger(record(label="ia3", recipe={"learning_rate": 3e-4, "balanced": True, "optimizer": "adamw"}))
FULL = ledger(record(label="full"))


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running server."""
    program = server.command()
    if program is None:
        pytest.skip(f"no MLflow server: `tox -e mlflow` installs one, and {server.VARIABLE} names its folder")
    with server.running(program, tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """An experiment of its own for each test."""
    return request.node.name[:200]


@pytest.fixture
def found(uri: str, experiment: str) -> Callable[[], list[Any]]:
    """Reads the runs of the experiment as a user would."""

    def read() -> list[Any]:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(experiment)
        return list(client.search_runs([known.experiment_id])) if known else []

    return read


def client_of(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def test_a_run_has_tags_parameters_and_every_metric(uri: str, experiment: str, found: Any, tmp_path: Path) -> None:
    pushed = push([IA3], f"mlflow:{uri}", experiment)
    assert (pushed.new, pushed.changed, pushed.same, pushed.notes) == (1, 0, 0, ())
    (run,) = found()
    made = content(IA3)
    assert run.data.metrics == made.metrics
    assert run.data.params["recipe.learning_rate"] == "0.0003"
    assert run.data.params["recipe.balanced"] == "true"
    assert run.data.params.keys() == made.params.keys()
    assert {name: run.data.tags[name] for name in made.tags} == made.tags
    assert run.data.tags["key"] == IA3.key
    assert run.info.status == "FINISHED"
    assert run.info.run_name == made.name
    assert run.info.end_time - run.info.start_time == round(1000 * made.seconds)
    path = client_of(uri).download_artifacts(run.info.run_id, FILE, str(tmp_path))
    assert Record.model_validate_json(Path(path).read_text(encoding="utf-8")) == IA3


def test_pushing_twice_makes_no_second_run(uri: str, experiment: str, found: Any) -> None:
    records = [IA3, FULL, failed()]
    push(records, f"mlflow:{uri}", experiment)
    before = {run.info.run_id for run in found()}
    again = push([*records, record(label="lora")], f"mlflow:{uri}", experiment)
    assert (again.new, again.changed, again.same) == (1, 0, 3)
    assert before < {run.info.run_id for run in found()}
    assert len(found()) == 4


def test_more_records_than_a_page_are_found_again(
    uri: str, experiment: str, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_runs, "PAGE", 2)
    records = [record(seed=seed) for seed in range(5)]
    push(records, f"mlflow:{uri}", experiment)
    assert push(records, f"mlflow:{uri}", experiment).same == 5


def test_a_changed_record_updates_its_run(uri: str, experiment: str, found: Any) -> None:
    push([IA3], f"mlflow:{uri}", experiment)
    (old,) = found()
    client_of(uri).set_tag(old.info.run_id, "mine", "a note")
    client_of(uri).log_metric(old.info.run_id, "my_metric", 1.0)
    later = {"seconds.train": 7.0, "flops.prefix": 12, "environment.created_at": "2025-01-03T00:00:00Z"}
    assert push([changed(IA3, later)], f"mlflow:{uri}", experiment).changed == 1
    (run,) = found()
    assert run.info.run_id == old.info.run_id
    assert run.data.tags["mine"] == "a note"
    assert (run.data.metrics["seconds.train"], run.data.metrics["flops.prefix"]) == (7.0, 12)


def test_a_failed_cell_that_ran_again_has_no_reason_any_more(uri: str, experiment: str, found: Any) -> None:
    push([changed(failed(), {"key": IA3.key})], f"mlflow:{uri}", experiment)
    (run,) = found()
    assert (run.info.status, run.data.tags["status"]) == ("FAILED", "failed")
    assert run.data.tags["reason"] == "loss is not finite at step 12"
    assert not run.data.metrics
    push([IA3], f"mlflow:{uri}", experiment)
    (run,) = found()
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "ok")
    assert "reason" not in run.data.tags
    assert run.data.metrics["score"] == IA3.score


def test_a_value_that_is_gone_is_gone(uri: str, experiment: str, found: Any) -> None:
    """MLflow deletes no metric: the record gets another run, and the old one is deleted."""
    push([IA3], f"mlflow:{uri}", experiment)
    (old,) = found()
    assert push([changed(IA3, {"flops.train": None})], f"mlflow:{uri}", experiment).changed == 1
    (run,) = found()
    assert run.info.run_id != old.info.run_id
    assert "flops.train" not in run.data.metrics


def test_a_skipped_cell_is_no_success(uri: str, experiment: str, found: Any) -> None:
    push([failed("skipped", "no key projection")], f"mlflow:{uri}", experiment)
    (run,) = found()
    assert (run.info.status, run.data.tags["status"]) == ("KILLED", "skipped")
    assert run.data.tags["reason"] == "no key projection"


@pytest.mark.parametrize("request_", ["create_run", "log_text", "set_terminated", "log_batch"])
def test_an_interrupted_push_goes_on(
    uri: str, experiment: str, found: Any, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    from mlflow.tracking import MlflowClient

    real, calls = getattr(MlflowClient, request_), []

    def interrupted(self: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(request_)
        done = real(self, *arguments, **named)
        if len(calls) == 2:  # after the server has done it, for the second record
            raise KeyboardInterrupt
        return done

    records = [IA3, FULL, record(label="bitfit")]
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, request_, interrupted)
        with pytest.raises(KeyboardInterrupt):
            push(records, f"mlflow:{uri}", experiment)
    push(records, f"mlflow:{uri}", experiment)
    runs = {run.data.tags["key"]: run for run in found()}
    assert len(found()) == len(runs) == 3
    for each in records:
        assert runs[each.key].data.metrics == content(each).metrics
        assert runs[each.key].info.status == "FINISHED"
    assert push(records, f"mlflow:{uri}", experiment).same == 3


def test_what_does_not_fit_is_changed_visibly_and_whole_in_the_record(
    uri: str, experiment: str, found: Any, tmp_path: Path
) -> None:
    labels = {"a & b": 1, "a | b": 2, "..": 3, "x" * 300: 4, "über/uns": 5, "/": 6}
    odd = changed(IA3, {"data.label_counts": labels, "task": "t" * 2000, "label": "<b>\x1b[31m", "template": "{{ x }}"})
    pushed = push([odd], f"mlflow:{uri}", experiment)
    assert len(pushed.notes) == 1
    assert FILE in pushed.notes[0]
    (run,) = found()
    counts = {name: value for name, value in run.data.metrics.items() if name.startswith("data.label_counts.")}
    assert sorted(counts.values()) == [1, 2, 3, 4, 5, 6]
    assert len(run.data.tags["task"]) == LONGEST_VALUE
    path = client_of(uri).download_artifacts(run.info.run_id, FILE, str(tmp_path))
    assert Record.model_validate_json(Path(path).read_text(encoding="utf-8")) == odd
    assert push([odd], f"mlflow:{uri}", experiment).same == 1


def test_many_names_take_several_requests(uri: str, experiment: str, found: Any) -> None:
    counts, packages = {f"label {n}": n for n in range(700)}, {f"package-{n}": "1.0" for n in range(250)}
    push([changed(IA3, {"data.label_counts": counts, "versions": packages})], f"mlflow:{uri}", experiment)
    (run,) = found()
    assert sum(name.startswith("data.label_counts.") for name in run.data.metrics) == 700
    assert sum(name.startswith("versions.") for name in run.data.tags) == 250


def test_a_deleted_experiment_is_an_error_that_says_so(uri: str, experiment: str) -> None:
    push([IA3], f"mlflow:{uri}", experiment)
    client = client_of(uri)
    client.delete_experiment(client.get_experiment_by_name(experiment).experiment_id)
    with pytest.raises(UserError, match="was deleted there; restore it"):
        push([IA3], f"mlflow:{uri}", experiment)


def test_a_record_that_cannot_be_stored_whole_is_said_and_tried_again(
    uri: str, experiment: str, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    def refused(*arguments: Any) -> None:
        raise OSError("no bucket")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_text", refused)
        (note,) = push([IA3], f"mlflow:{uri}", experiment).notes
    assert "no bucket" in note
    (run,) = found()
    assert run.data.metrics["score"] == IA3.score
    again = push([IA3], f"mlflow:{uri}", experiment)
    assert (again.changed, again.notes) == (1, ())


def test_the_experiment_has_the_name_of_the_results_folder(tmp_path: Path) -> None:
    assert experiment_of(Records([IA3], {IA3.key: str(tmp_path / "mine")})) == f"{EXPERIMENT}/mine"
    assert experiment_of(Records([IA3], {IA3.key: "s3://bucket/mine/"})) == f"{EXPERIMENT}/mine"
    assert experiment_of([IA3]) == EXPERIMENT


def test_a_server_that_is_not_there_is_one_error_in_short_time() -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match="cannot be reached") as raised:
        push([IA3], f"mlflow:http://lovelace:hush@127.0.0.1:{server.free_port()}")
    assert time.monotonic() - began < 30
    assert "hush" not in str(raised.value)
    assert "lovelace" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mlflow_runs.PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UserError, match="cannot be reached"):
            push([IA3], f"mlflow:http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy, which Optuna installs
def test_a_store_that_the_client_does_not_know_needs_the_whole_of_mlflow() -> None:
    with pytest.raises(UserError, match="pip install mlflow") as raised:
        push([IA3], "mlflow:postgresql://ann:hush@127.0.0.1/runs")
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("name", ["scores.test.accuracy", "a/b c-d.e:f", "über"])
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    assert fitting_name(name) == name


@pytest.mark.parametrize("name", ["a&b", "..", "../a", "/a", "a//b", "a/", ".", "x" * 251, "a\nb", "\ud800", ""])
def test_another_name_is_changed_into_one_that_it_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    fitting = fitting_name(name)
    assert fitting != name
    assert len(fitting) <= LONGEST_NAME
    _validate_metric_name(fitting)
    assert fitting_name(fitting) == fitting


def test_two_names_stay_two() -> None:
    assert fitting_name("a&b") != fitting_name("a|b")


def test_runs_are_those_of_one_experiment(uri: str, experiment: str) -> None:
    runs = Runs(uri, experiment)
    assert experiment in runs.place
    assert runs.push(content(IA3)) == "new"
    assert Runs(uri, f"{experiment} 2").push(content(IA3)) == "new"
    assert Runs(uri, experiment).push(content(IA3)) == "same"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b"no entry for hush", "MLFLOW_TRACKING_USERNAME"),
        (403, b"<html>\x1b[31mno", "MLFLOW_TRACKING_USERNAME"),
        (404, b"", "give the URI of an MLflow server"),
        (200, b"<html>hello", "give the URI of an MLflow server"),
        (500, b"oops", "cannot be reached"),
    ],
)
def test_another_answer_is_one_line_without_the_password(status: int, body: bytes, message: str) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as answering:
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        with pytest.raises(UserError, match=message) as raised:
            push([IA3], f"mlflow:http://lovelace:hush@127.0.0.1:{answering.server_port}")
        answering.shutdown()
    assert "hush" not in str(raised.value)
    assert str(raised.value).isprintable()
