"""The environment of a run: package versions, processor, commit."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tunefront.bench.files import ROOT

VERSIONED = ("torch", "transformers", "tokenizers", "safetensors", "evaluate", "scikit-learn", "scipy", "tunefront")
"""Packages whose version can change a number; part of every key."""


@functools.cache
def versions(further: tuple[str, ...] = ()) -> dict[str, str]:
    """Package name -> installed version, also of `further` packages; a package that is not installed (a bare checkout)
    is left out."""
    installed = {}
    for name in (*VERSIONED, *further):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


NUMBERS = {"cpu family": "family", "model": "model", "CPU implementer": "implementer", "CPU part": "part"}
"""Fields of /proc/cpuinfo by which processors differ -> their names here."""


@functools.cache
def cpu_model() -> str:
    """The processor's name, as reported by the system, with the numbers that tell processors of one name apart: a
    virtual machine may call several generations `AMD EPYC`, and Linux has no other name for those of ARM."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    known: dict[str, dict[str, None]] = {}  # per field its values, in order
    for field, _, value in (line.partition(":") for line in lines):
        known.setdefault(field.strip(), {})[value.strip()] = None
    named = known.get("model name") or known.get("cpu") or {_apple_model(): None}
    name = next(iter(named)) or platform.processor() or platform.machine()
    numbers = [f"{shown} {' '.join(known[field])}" for field, shown in NUMBERS.items() if field in known]
    return " ".join([name, *numbers])


def _apple_model() -> str:
    """The processor's name on macOS, for which Python knows only `arm`; empty elsewhere."""
    if sys.platform != "darwin":
        return ""
    try:
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def host() -> str | None:
    """The machine's name on its network, None if it has none."""
    return platform.node() or None


@functools.cache
def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, with `+` if it has changes; None if it is installed."""
    if not (ROOT / ".git").exists():
        return None
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        status = subprocess.run(  # without locks, since a process that is killed would leave one in the checkout
            ["git", "--no-optional-locks", "status", "--porcelain", "--untracked-files=no"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")
