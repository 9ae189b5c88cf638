"""A real MLflow server for the tests, in an environment of its own: `tox -e mlflow` makes it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "TUNEFRONT_MLFLOW"
"""Names the environment's folder."""
SECONDS = 90
"""How long a server may take to start."""


def command() -> str | None:
    """MLflow's own command, if it is here with all that a server needs."""
    folder = os.environ.get(VARIABLE)
    return None if folder is None else shutil.which("mlflow", path=os.path.join(folder, "bin"))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(program: str, folder: Path) -> Iterator[str]:
    """The URI of a server whose runs are in the folder, in a database; it takes files."""
    port = free_port()
    options = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    stores = ("--backend-store-uri", "sqlite:///runs.db", "--artifacts-destination", "./files")
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("PYTHONPATH", None)  # it has packages of its own
    with folder.joinpath("log.txt").open("wb") as log:
        server = subprocess.Popen(
            [program, "server", *options, *stores],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, folder / "log.txt")
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, 15)  # it has workers
        server.wait(timeout=30)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError), urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
