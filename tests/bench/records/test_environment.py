"""Where a cell ran."""

from __future__ import annotations

import platform

import pytest

from tests.reports.factory import record
from tunefront.bench.records import DETERMINISTIC
from tunefront.bench.records.environment import host


def test_the_host_is_the_machines_name_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "node-7")
    assert host() == "node-7"
    monkeypatch.setattr(platform, "node", lambda: "")
    assert host() is None


def test_the_host_may_differ_between_records_of_the_same_cell() -> None:
    assert "environment.host" not in DETERMINISTIC
    assert record(environment__host=None).environment.host is None
