"""Where a cell ran."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import types
from pathlib import Path

import pytest

from tests.reports.factory import record
from tunefront.bench.records import DETERMINISTIC, environment
from tunefront.bench.records.environment import host


def test_the_host_is_the_machines_name_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "node-7")
    assert host() == "node-7"
    monkeypatch.setattr(platform, "node", lambda: "")
    assert host() is None


def test_the_host_may_differ_between_records_of_the_same_cell() -> None:
    assert "environment.host" not in DETERMINISTIC
    assert record(environment__host=None).environment.host is None


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_asking_for_the_commit_writes_nothing_into_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git status` would lock and write the index: a process that is killed then leaves the lock there."""

    def git(*words: str) -> str:
        named = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
        done = subprocess.run(["git", *named, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    file = tmp_path / "file.py"
    file.write_text("x = 1\n", encoding="utf-8")
    git("add", ".")
    git("commit", "-q", "-m", "a file")
    os.utime(file, (1_000_000_000, 1_000_000_000))  # what the index knows of it is outdated
    index = (tmp_path / ".git" / "index").read_bytes()
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    environment.git_commit.cache_clear()
    try:
        assert environment.git_commit() == git("rev-parse", "HEAD")
        assert (tmp_path / ".git" / "index").read_bytes() == index
        file.write_text("x = 2\n", encoding="utf-8")
        environment.git_commit.cache_clear()
        assert environment.git_commit() == git("rev-parse", "HEAD") + "+"
    finally:
        environment.git_commit.cache_clear()


X86 = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0c\n\n"


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: Example CPU @ 2.50GHz\n", "Example CPU @ 2.50GHz"),
        (X86 * 2, "AMD EPYC family 25 model 17"),
        (X86.replace(": 17", ": 1"), "AMD EPYC family 25 model 1"),
        (ARM + ARM.replace("0xd0c", "0xd4f"), "aarch64 implementer 0x41 part 0xd0c 0xd4f"),
        (ARM.replace("BogoMIPS\t: 50.00", "model name\t: ARMv8"), "ARMv8 implementer 0x41 part 0xd0c"),
        ("processor\t: 0\ncpu\t\t: POWER9, altivec supported\n", "POWER9, altivec supported"),
        ("", "aarch64"),
    ],
)
def test_unlike_processors_have_unlike_names(cpuinfo: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their seconds would be averaged otherwise. On most Linux machines with ARM the system gives numbers only, and
    virtual machines leave the number out of names."""
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: cpuinfo)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert environment.cpu_model.__wrapped__() == name


def test_processors_of_apple_have_unlike_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def sysctl(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, "Apple M1\n")

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(environment, "sys", types.SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(subprocess, "run", sysctl)
    assert environment.cpu_model.__wrapped__() == "Apple M1"
    monkeypatch.setattr(subprocess, "run", missing)
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert environment.cpu_model.__wrapped__() == "arm"
