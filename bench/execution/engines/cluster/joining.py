"""Joining a Ray cluster: its address, errors in words, and what Ray would print over the display."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tunefront.bench.errors import UserError, in_short, printable
from tunefront.bench.execution import interruption

ANSWER_SECONDS = 5.0
"""How long a cluster has to accept a connection."""
LOOK_SECONDS = 5.0
"""Interval between two looks at the head node."""
LOST_SECONDS = 25.0
"""How long the head node has not answered when a program that still waits for it is ended; Ray would after 60 s."""
SHOW_CURSOR = "\x1b[?25h"
"""For a terminal in which a display has hidden it."""
NEW, AUTO = "local", "auto"
"""Ray's words for a cluster that starts now, and for that of this machine."""
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS
"""What an HTTP/2 client sends first, and so one of gRPC; a server answers with its own settings (RFC 9113, section
3.4)."""
FRAME_TYPE = slice(3, 4)
"""Where the header of a frame has its type."""
PRINTS = "print_to_stdstream"
"""The function of Ray that prints messages of its processes."""
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

    Errors: UserError if Ray is not installed, if no cluster answers, if its versions differ, or if the program has
    joined another one.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    found = _find(address)
    if found != NEW:
        check_answers(found)
    if _is_loopback(found):
        os.environ.setdefault(ONE_MACHINE, "0")
    ray = _imported()
    if ray.is_initialized():
        if address is not None:
            _check_same(address, ray.get_runtime_context().gcs_address)
        yield ray
        return
    started = _started_here()
    if found != NEW and started is not None and _is_same(found, started):
        _use_token()
    with _without_messages():
        _join(ray, found)
        with _watched(ray.get_runtime_context().gcs_address):
            try:
                yield ray
            finally:
                with interruption.deferred():
                    ray.shutdown()


@contextmanager
def _watched(address: str) -> Iterator[None]:
    """Within the block, ends this process with a message and exit code 2 if the head node at `address` is lost and
    nothing else has ended the block: a call of Ray that waits for it cannot be interrupted, and Ray would end the
    process itself, without a word about what to do."""
    left = threading.Event()
    threading.Thread(target=_watch, args=(address, left), daemon=True, name="watching the Ray cluster").start()
    try:
        yield
    finally:
        left.set()


def _watch(address: str, left: threading.Event, end: Callable[[int], object] = os._exit) -> None:
    answered = time.monotonic()
    while not left.wait(LOOK_SECONDS):
        if _error_of(address) is None:
            answered = time.monotonic()
        elif time.monotonic() - answered > LOST_SECONDS:
            shown = SHOW_CURSOR if os.isatty(2) else ""
            os.write(2, f"{shown}\nerror: {printable(head_lost(address))}\n".encode())
            interruption.end_children()
            end(2)
            return


def head_lost(address: str) -> str:
    """The message about a cluster whose head node is lost."""
    return (
        f"the head node of the Ray cluster is lost: {address} does not answer any more. Finished records are kept: "
        "start the cluster again and repeat the command to continue."
    )


def _find(address: str | None) -> str:
    """The address of the cluster to join, NEW for one that starts now."""
    if address is not None:
        return address
    named = os.environ.get("RAY_ADDRESS") or AUTO
    if named != AUTO:
        return named
    started = _started_here()
    return started if started is not None and _error_of(started) is None else NEW


def _check_same(address: str, joined_before: str) -> None:
    """UserError if an address is not that of the cluster which the program has joined."""
    if not _is_same(address, joined_before):
        raise UserError(
            f"--engine ray:{address}: this program has joined the Ray cluster at {joined_before}; write ray alone, or "
            "call ray.shutdown() before."
        )


def _is_same(address: str, other: str) -> bool:
    """Whether two addresses are the same; hosts have many names."""
    (host, port), (other_host, other_port) = host_and_port(address), host_and_port(other)
    return port == other_port and not _addresses(host).isdisjoint(_addresses(other_host))


def _addresses(host: str) -> set[str]:
    """The addresses of a host; those of this machine are all one."""
    try:
        found = {str(information[4][0]) for information in socket.getaddrinfo(host, None)}
    except OSError:
        return {host}
    return found | set(LOOPBACK) if found & {*LOOPBACK, _own_address()} else found


def _use_token() -> None:
    """Gives the cluster that `ray start` has started here the token of its user, if there is one: `ray start` then asks
    for it, but Ray sends it by itself only if it is given no address."""
    try:
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    except ImportError:  # an earlier Ray has no tokens
        return
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


@contextmanager
def _without_messages() -> Iterator[None]:
    """Keeps Ray from printing what its processes report, such as that one died, over the display: no setting does."""
    from ray._private import worker

    before = getattr(worker, PRINTS, None)
    setattr(worker, PRINTS, lambda *arguments, **named: None)
    try:
        yield
    finally:
        if before is not None:
            setattr(worker, PRINTS, before)


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


def _join(ray: ModuleType, address: str) -> None:
    handlers = {number: signal.getsignal(number) for number in interruption.COMMAND_SIGNALS}
    try:
        with interruption.deferred():
            ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except Exception as error:  # Ray has errors of its own and of its libraries, and RuntimeErrors
        where = "of this machine" if address == NEW else f"at {address}"
        raise UserError(
            f"the Ray cluster {where} cannot be joined ({in_short(error)}); every machine needs the same versions of "
            "Python and of ray, and, if the cluster asks for a token, its ~/.ray/auth_token and RAY_AUTH_MODE=token. "
            "The address is that which `ray start --head` prints."
        ) from error
    finally:
        for number, handler in handlers.items():  # Ray sets one of its own for SIGTERM
            if handler is not None:
                signal.signal(number, handler)


def _started_here() -> str | None:
    """The address of the cluster that `ray start` has started on this machine last, whether it still runs or not."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        return None
    import tempfile

    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    try:
        address = Path(folder, "ray", "ray_current_cluster").read_text(encoding="utf-8").strip()
        host_and_port(address)
    except (OSError, UnicodeError, UserError):
        return None
    return address


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of an address; UserError if it is none.

    >>> host_and_port("[::1]:6379")
    ('::1', 6379)
    """
    host, colon, port = address.rpartition(":")
    whole = colon and host and "/" not in host
    if not whole or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(
            f"--engine ray:{address}: {address!r} is no address of a cluster; write ray:HOST:PORT, or ray alone."
        )
    return host.strip("[]"), int(port)


def check_answers(address: str) -> None:
    """UserError at once if no cluster listens at an address: Ray itself would try for minutes."""
    error = _error_of(address)
    if error is not None:
        raise UserError(
            f"no Ray cluster answers at {address} ({error}); start one with `ray start --head` on the first machine "
            "and `ray start --address=HOST:PORT` on the others, or check the address."
        )


def _error_of(address: str) -> str | None:
    """Why no cluster answers at an address; None if one does."""
    try:
        with socket.create_connection(host_and_port(address), ANSWER_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return None  # what follows would be encrypted
            connection.sendall(GREETING)
            answer = b""
            while len(answer) < len(SETTINGS) and (more := connection.recv(len(SETTINGS) - len(answer))):
                answer += more
    except (OSError, UnicodeError) as error:
        return str(getattr(error, "strerror", None) or error)
    return None if answer[FRAME_TYPE] == SETTINGS[FRAME_TYPE] else "something else than Ray listens there"


def _is_loopback(address: str) -> bool:
    """Whether Ray must keep a loopback address, or takes one for a cluster that starts now: it prefers the address of
    the network, at which the port of such a cluster may be closed."""
    if address == NEW:
        return True
    host, port = host_and_port(address)
    return host in LOOPBACK and not _listens_on_network(port)


def _listens_on_network(port: int) -> bool:
    """Whether the port is open at this machine's own address."""
    host = _own_address()
    return host is not None and _error_of(f"{host}:{port}") is None


def _own_address() -> str | None:
    """This machine's address in the network; None without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 1))  # sends nothing: it only chooses the own address
        except OSError:
            return None
        return str(probe.getsockname()[0])
