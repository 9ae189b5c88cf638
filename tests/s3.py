"""A real S3 server of this machine (moto's), and other servers that misbehave."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

BUCKET = "bucket"
_numbers = itertools.count()


@dataclass(frozen=True)
class Server:
    """An S3 server with one bucket, as the standard variables of the environment name it."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables for this process and others."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def new_url(self) -> str:
        """The URL of a results folder that no other test has."""
        return f"s3://{BUCKET}/results-{next(_numbers)}"


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a port of its own, in a thread."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line per request
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Server(f"http://{host}:{port}")
    finally:
        server.stop()


@contextmanager
def connected(server: Server) -> Iterator[Server]:
    """This process talks to the server, and forgets its connections afterwards."""
    import fsspec
    import s3fs

    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            yield server
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            fsspec.config.conf.pop("s3", None)


@contextmanager
def silent_server() -> Iterator[Server]:
    """A server that takes connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def take() -> None:
        with suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    threading.Thread(target=take, daemon=True).start()
    try:
        yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        listener.close()
        for connection in taken:
            connection.close()


@contextmanager
def refusing_server(code: str) -> Iterator[Server]:
    """A server that answers every request with this error of S3."""
    body = f"<Error><Code>{code}</Code><Message>quoth the server: {code}</Message></Error>".encode()

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(500 if code == "InternalError" else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_PUT = do_HEAD = do_DELETE = do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often S3 is asked for what, from now on: name of the request -> number."""
    import s3fs
    from fsspec.asyn import sync_wrapper

    requests: Counter[str] = Counter()
    call = s3fs.S3FileSystem._call_s3

    async def count(files: object, method: str, *arguments: object, **more: object) -> object:
        requests[method] += 1
        return await call(files, method, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "_call_s3", count)
        patch.setattr(s3fs.S3FileSystem, "call_s3", sync_wrapper(count))
        yield requests
