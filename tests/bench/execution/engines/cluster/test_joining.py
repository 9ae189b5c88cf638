"""Addresses of Ray clusters: what is wrong with them is said at once."""

from __future__ import annotations

import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from tunefront.bench.errors import UserError
from tunefront.bench.execution.engines.cluster import joining
from tunefront.bench.execution.engines.cluster.engine import Cluster
from tunefront.bench.execution.engines.cluster.fleet import Needs
from tunefront.bench.execution.engines.cluster.joining import joined


@pytest.mark.parametrize(
    "address", ["nowhere", "host:", ":1", "host:0", "host:65536", "host:x", "host:٣", "ray://host:10001", ""]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="HOST:PORT"), joined(address):
        pass


def test_a_cluster_that_does_not_answer_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nothing listens there
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UserError, match=address), joined(address):
            pass


def test_what_is_no_ray_cluster_is_named_at_once() -> None:
    """Ray itself would wait for minutes."""

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(UserError, match="something else than Ray"), joined(f"127.0.0.1:{server.server_port}"):
                pass
        finally:
            server.shutdown()


def test_a_program_that_waits_for_a_lost_head_node_ends_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A call of Ray that waits for it cannot be interrupted."""
    monkeypatch.setattr(joining, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(joining, "LOST_SECONDS", 0.05)
    answers, codes = iter([None] * 3), list[int]()
    monkeypatch.setattr(joining, "_error_of", lambda address: next(answers, "refused"))
    joining._watch("127.0.0.1:1", Event(), codes.append)
    assert codes == [2]
    assert "head node of the Ray cluster is lost: 127.0.0.1:1" in capfd.readouterr().err


def test_a_program_that_has_left_its_cluster_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(joining, "LOST_SECONDS", -1.0)
    left, codes = Event(), list[int]()
    monkeypatch.setattr(joining, "_error_of", lambda address: left.set())
    joining._watch("127.0.0.1:1", left, codes.append)
    assert codes == []


def test_the_file_of_a_cluster_that_has_ended_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{closed.getsockname()[1]}", "utf-8")
        assert joining._find(None) == joining.NEW
    (tmp_path / "ray" / "ray_current_cluster").write_text("no address", "utf-8")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert joining._find(None) == joining.NEW
    monkeypatch.setenv("RAY_ADDRESS", "host:1")
    assert joining._find(None) == "host:1"


def test_a_program_that_has_joined_another_cluster_is_told() -> None:
    joining._check_same("localhost:6379", "127.0.0.1:6379")
    for other in ("127.0.0.1:6380", "192.0.2.1:6379"):
        with pytest.raises(UserError, match="has joined"):
            joining._check_same(other, "127.0.0.1:6379")


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
