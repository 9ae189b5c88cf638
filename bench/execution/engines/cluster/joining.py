"""Joining a Ray cluster: its address, errors in words, and what Ray would print over the display."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from tunefront.bench.errors import UserError, in_short
from tunefront.bench.execution import interruption

ANSWER_SECONDS = 5.0
"""How long a cluster has to accept a connection."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""If this variable is 0 when Ray is imported, Ray does not replace a loopback address by that of the network."""


@contextmanager
def joined(address: str | None) -> Iterator[ModuleType]:
    """Ray, joined to the cluster at `address`, HOST:PORT; without one, to that of RAY_ADDRESS or of `ray start` on this
    machine, else to one that starts now, on this machine alone. It is left at the end, unless the program had joined it
    before.

    Errors: UserError if Ray is not installed, if nothing answers, or if its versions differ.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("RAY_ADDRESS") or None if address is None else address
    if address is not None:
        _check_answers(address)
    elif not _is_started_here():
        os.environ.setdefault(ONE_MACHINE, "0")
    ray = _imported()
    before = ray.is_initialized()
    if not before:
        _join(ray, address)
    try:
        yield ray
    finally:
        if not before:
            with interruption.deferred():
                ray.shutdown()


def _imported() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"--engine ray needs the package ray, which cannot be imported ({in_short(error)}); install it on every "
            "machine of the cluster with: pip install 'tunefront[ray]'"
        ) from error
    logging.getLogger("ray").setLevel(logging.CRITICAL + 1)  # else it writes over the display; errors are raised too
    module: ModuleType = ray
    return module


def _join(ray: ModuleType, address: str | None) -> None:
    handlers = {number: signal.getsignal(number) for number in interruption.COMMAND_SIGNALS}
    try:
        with interruption.deferred():
            ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except Exception as error:  # Ray has errors of its own and of its libraries, and RuntimeErrors
        where = "of this machine" if address is None else f"at {address}"
        raise UserError(
            f"the Ray cluster {where} cannot be joined ({in_short(error)}); every machine needs the same versions of "
            "Python and of ray, and `ray status` must show the cluster."
        ) from error
    finally:
        for number, handler in handlers.items():  # Ray sets one of its own for SIGTERM
            if handler is not None:
                signal.signal(number, handler)


def _is_started_here() -> bool:
    """Whether `ray start` has started a cluster on this machine."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        return False
    import tempfile

    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return os.path.isfile(os.path.join(folder, "ray", "ray_current_cluster"))


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of an address; UserError if it is none.

    >>> host_and_port("[::1]:6379")
    ('::1', 6379)
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(f"--engine ray:{address}: {address!r} is no address; write ray:HOST:PORT, or ray alone.")
    return host.strip("[]"), int(port)


def _check_answers(address: str) -> None:
    """UserError at once if nothing listens at an address: Ray itself would try for minutes."""
    host, port = host_and_port(address)
    try:
        socket.create_connection((host, port), ANSWER_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start one with `ray start --head` on "
            "the first machine and `ray start --address=HOST:PORT` on the others, or check the address."
        ) from error
    if host in LOOPBACK and not _listens_on_network(port):
        os.environ.setdefault(ONE_MACHINE, "0")


def _listens_on_network(port: int) -> bool:
    """Whether the port is open at this machine's own address, which Ray prefers to a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 1))  # sends nothing: it only chooses the own address
            socket.create_connection((probe.getsockname()[0], port), ANSWER_SECONDS).close()
        except OSError:
            return False
    return True
