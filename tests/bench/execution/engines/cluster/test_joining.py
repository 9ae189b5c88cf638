"""Addresses of Ray clusters: what is wrong with them is said at once."""

from __future__ import annotations

import socket
import sys

import pytest

from tunefront.bench.errors import UserError
from tunefront.bench.execution.engines.cluster.engine import Cluster, Needs
from tunefront.bench.execution.engines.cluster.joining import joined


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "host:0", "host:65536", "host:x", "host:٣", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="HOST:PORT"), joined(address):
        pass


def test_a_cluster_that_does_not_answer_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nothing listens there
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UserError, match=address), joined(address):
            pass


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match=r"tunefront\[ray\]"), joined(None):
        pass


def test_a_node_has_room_for_as_many_workers_as_its_cores_and_gpus_allow() -> None:
    assert Needs(2, 0).fit({"CPU": 7.0}) == 3
    assert Needs(2, 1).fit({"CPU": 7.0, "GPU": 2.0}) == 2
    assert Needs(2, 1).fit({"CPU": 7.0}) == 0
    assert Needs(1, 0).fit({}) == 0


def test_an_engine_without_cells_joins_nothing() -> None:
    engine = Cluster("127.0.0.1:1")
    assert list(engine.run([], None, None)) == []  # type: ignore[arg-type]
    assert engine.after_computing() is engine
