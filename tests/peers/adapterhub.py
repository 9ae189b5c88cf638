"""AdapterHub's side: its package `adapters` in its own environment and process, called over pipes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from tunefront.bench.models.families import Backbone

ADAPTER = "peer"
"""The name of every adapter in the child."""


@dataclass(frozen=True)
class Counterpart:
    """One of our methods on BERT, as configured in AdapterHub.

    Args: config_class, the name of its configuration class, None for full fine-tuning; arguments of the configuration,
    for a method on a backbone; name, maps the name of our trained tensor to theirs; also, suffixes of further modules
    to train; other, part of the names of tensors with another function there, which are compared only at values where
    both functions are equal.
    """

    config_class: str | None
    arguments: Callable[[Any, Backbone], dict[str, Any]]
    name: Callable[[str], str]
    also: Callable[[Any], tuple[str, ...]] = lambda method: ()
    other: str | None = None


class AdapterHub:
    """The child process, run by the Python of an environment; used with `with`."""

    def __init__(self, python: str | Path):
        script = Path(__file__).with_name("adapterhub_child.py")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [str(python), "-I", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()

    def call(self, do: str, **arguments: Any) -> Any:
        """Calls a method of the child. Errors: RuntimeError if it has ended; its own error is on standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        result = self._process.stdout.readline()
        if not result:
            raise RuntimeError(f"AdapterHub's process ended with exit code {self._process.wait()} in {do!r}")
        return json.loads(result)


def python_of(environment: str | None) -> Path | None:
    """The Python in the folder of an environment, None if there is none."""
    if not environment:
        return None
    candidates = [Path(environment, *parts) for parts in (("bin", "python"), ("Scripts", "python.exe"))]
    return next((path for path in candidates if path.exists()), None)


def renamed(counterpart: Counterpart, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by their names in the child."""
    head = {"head.output.weight": "head.weight", "head.output.bias": "head.bias"}
    return {
        head.get(name) or f"encoder.{counterpart.name(name)}": tensor.detach().contiguous()
        for name, tensor in tensors.items()
    }


def _ia3_name(ours: str) -> str:
    """In BERT's feed-forward, AdapterHub scales the input of the nonlinearity, but the paper scales its output."""
    host = ours.removesuffix(".ia3.scale")
    if host.endswith(".output.dense"):
        host = host.removesuffix(".output.dense") + ".intermediate.dense"
    return f"{host}.loras.{ADAPTER}.lora_B"


def _lora_name(ours: str) -> str:
    host, part = ours.split(".lora.")
    return f"{host}.loras.{ADAPTER}.{'lora_A' if part == 'down.weight' else 'lora_B'}"


def _houlsby_name(ours: str) -> str:
    if ".dropout.adapter." not in ours:
        return ours  # a norm
    host, part = ours.split(".dropout.adapter.")
    return f"{host}.adapters.{ADAPTER}.{part.replace('down.', 'adapter_down.0.').replace('up.', 'adapter_up.')}"


COUNTERPARTS: dict[str, Counterpart] = {
    "full": Counterpart(None, lambda method, backbone: {}, lambda ours: ours),
    "ia3": Counterpart("IA3Config", lambda method, backbone: {}, _ia3_name, other=".intermediate.dense."),
    "lora": Counterpart(
        "LoRAConfig",
        lambda method, backbone: {"r": method.rank, "alpha": method.alpha, "attn_matrices": ["q", "v"]},
        _lora_name,
    ),
    "houlsby": Counterpart(
        "DoubleSeqBnConfig",
        # Its default nonlinearity is swish; this name selects ours with torch's kernel.
        lambda method, backbone: {
            "reduction_factor": backbone.width / method.bottleneck,
            "non_linearity": "gelu_pytorch_tanh",
        },
        _houlsby_name,
        also=lambda method: ("LayerNorm",) if getattr(method, "norms", True) else (),
    ),
}
"""By the names of our methods."""
