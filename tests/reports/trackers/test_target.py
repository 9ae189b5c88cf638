"""Where to push: how it is given, and what of it may be shown."""

from __future__ import annotations

import pytest

from tunefront.bench.errors import UserError
from tunefront.reports.trackers.target import URI_VARIABLE, Target, importing, secrets, without_secrets


def test_a_tracker_and_its_place() -> None:
    assert Target.parse("mlflow:http://localhost:5000") == Target("mlflow", "http://localhost:5000")
    assert Target.parse("tensorboard:runs/mine") == Target("tensorboard", "runs/mine")


def test_mlflow_s_own_variable_is_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URI_VARIABLE, "http://tracker:5000")
    assert Target.parse("mlflow").place == "http://tracker:5000"
    monkeypatch.delenv(URI_VARIABLE)
    with pytest.raises(UserError, match=URI_VARIABLE):
        Target.parse("mlflow")
    with pytest.raises(UserError, match="tensorboard:runs"):
        Target.parse("tensorboard:")


def test_another_tracker_gets_the_nearest_name_and_shows_no_password() -> None:
    with pytest.raises(UserError, match="did you mean 'mlflow'") as raised:
        Target.parse("mlfow:http://ann:hush@host")
    assert "hush" not in str(raised.value)
    with pytest.raises(UserError) as raised:
        Target.parse("https://ann:hush@host")
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:hush@host:5000/x", "http://***@host:5000/x"),
        ("https://token@host", "https://***@host"),
        ("http://ann:hu/sh@host", "http://***@host"),
        ("postgresql://host/runs?user=ann&password=hush", "postgresql://host/runs?***"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("sqlite:///runs.db", "sqlite:///runs.db"),
        ("databricks", "databricks"),
    ],
)
def test_a_uri_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert without_secrets(uri, uri) == shown


def test_a_password_is_hidden_as_typed_and_as_sent() -> None:
    uri = "http://ann:p%40ss@host"
    assert secrets(uri)[0] == "ann:p%40ss"
    assert without_secrets("401 for ann with p@ss, p%40ss", uri) == "401 for ann with ***, ***"


def test_a_missing_extra_says_how_to_install_it() -> None:
    with pytest.raises(UserError, match=r"pip install 'tunefront\[mlflow\]'"), importing("mlflow"):
        raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")
