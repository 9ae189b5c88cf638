"""Engines by their names: `local`, or `ray` with the address of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.execution.engines import Engine, default_workers, is_users_own

if TYPE_CHECKING:
    from tunefront.bench.cells import Cell
    from tunefront.bench.execution.engines.cluster.schedule import Expected

LOCAL, RAY = "local", "ray"
ENGINES = (LOCAL, RAY)


@dataclass(frozen=True)
class EngineName:
    """The name of an engine, and the address of a cluster, HOST:PORT; None for that of this machine."""

    name: str
    address: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The engine that a text such as `ray:10.0.0.5:6379` names; UserError for an unknown one, or a wrong address.

        >>> EngineName.parse("ray:10.0.0.5:6379")
        EngineName(name='ray', address='10.0.0.5:6379')
        """
        name, colon, address = str(text).partition(":")
        if name not in ENGINES:
            raise UserError(f"--engine: {unknown('engine', name, ENGINES, 'Ray at an address: ray:HOST:PORT.')}")
        if colon and name == LOCAL:
            raise UserError(f"--engine {text}: this machine has no address; write --engine local, or ray:HOST:PORT.")
        if colon:
            from tunefront.bench.execution.engines.cluster.joining import host_and_port

            host_and_port(address)
        return cls(name, address if colon else None)

    @property
    def is_cluster(self) -> bool:
        """Whether cells run on the nodes of a cluster."""
        return self.name == RAY

    def engine(
        self,
        workers: int | None,
        cells: Sequence[Cell],
        fork: bool = False,
        alone: Callable[[Cell], bool] = is_users_own,
        expected: Mapping[str, Expected] | None = None,
    ) -> Engine:
        """The engine. `workers`, None for as many as are sensible for these cells, and the other arguments are those of
        `Local` and `Cluster`."""
        if self.is_cluster:
            from tunefront.bench.execution.engines.cluster.engine import Cluster

            return Cluster(self.address, workers, expected or {}, alone)
        from tunefront.bench.execution.engines.local import Local

        return Local(workers or default_workers(cells), fork, alone)
