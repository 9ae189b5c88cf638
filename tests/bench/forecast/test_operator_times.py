"""Dispatched operators: their counts, their costs by hand, and running each alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tunefront.bench.forecast.fake_models import FakePretrained
from tunefront.bench.forecast.operator_times import Operation, Operations, OperatorTimer, Phases, TensorSpec
from tunefront.bench.forecast.synthetic import SyntheticRows
from tunefront.bench.meters.memory.tracker import Ledger

CPU = torch.device("cpu")


def counted(**phases: Callable[[], object]) -> Phases:
    """The operators of each phase, as a ledger reports them."""
    operations = Operations()
    with Ledger(torch.nn.Module(), observer=operations) as ledger:
        torch.ones(3, 3).exp()  # in no phase
        for name, run in phases.items():
            with ledger.phase(name):
                run()
    phases_run = operations.drain()
    assert operations.drain() == {}
    return phases_run


def of(phases: Phases, phase: str, name: str) -> Operation:
    """The only operator of that name."""
    (operation,) = [each for each in phases[phase] if each.function.__name__.startswith(name)]
    return operation


def test_operators_are_counted_in_the_phase_that_dispatches_them() -> None:
    x = torch.ones(3, 3)
    phases = counted(forward=lambda: (x.sin(), x.sin(), x.cos()), backward=lambda: x.cos())
    names = {
        phase: {operation.function.__name__.partition(".")[0]: times for operation, times in operations.items()}
        for phase, operations in phases.items()
    }
    assert names == {"forward": {"sin": 2, "cos": 1}, "backward": {"cos": 1}}


def test_the_same_operator_on_other_shapes_is_another() -> None:
    operations = counted(forward=lambda: (torch.ones(3).sin(), torch.ones(4).sin()))["forward"]
    assert len([operation for operation in operations if operation.function.__name__.startswith("sin")]) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_matrix_product_by_hand(dtype: torch.dtype) -> None:
    first, second = torch.ones(5, 7, dtype=dtype), torch.ones(7, 11, dtype=dtype)
    product = of(counted(forward=lambda: first @ second), "forward", "mm")
    assert product.flops == 2 * 5 * 7 * 11
    assert product.nbytes == dtype.itemsize * (5 * 7 + 7 * 11 + 5 * 11)
    assert not product.view


def test_an_expanded_dimension_is_read_once() -> None:
    row = torch.ones(7)
    assert TensorSpec.of(row.expand(5, 7)).nbytes == 4 * 7
    assert TensorSpec.of(torch.ones(5, 7)).nbytes == 4 * 5 * 7
    assert TensorSpec.of(torch.ones(())).nbytes == 4
    assert TensorSpec.of(torch.ones(5, 0)).nbytes == 0


@pytest.mark.parametrize(
    ("dtype", "value"), [(torch.float32, 0.01), (torch.long, 0), (torch.bool, True), (torch.bfloat16, 0.01)]
)
def test_a_filled_spec_has_the_strides_of_the_tensor(dtype: torch.dtype, value: float) -> None:
    tensor = torch.zeros(4, 6, dtype=dtype).t()[1:]
    made = TensorSpec.of(tensor).filled(CPU)
    assert (made.shape, made.stride(), made.dtype) == (tensor.shape, tensor.stride(), dtype)
    assert torch.equal(made, torch.full_like(made, value))


def test_views_take_no_time_and_writing_operators_are_not_views() -> None:
    x, timer = torch.ones(4, 6), OperatorTimer(CPU)
    operations = counted(forward=lambda: (x.t(), x.view(24), x.add_(1), x.clone()))["forward"]
    views = {operation.function.__name__.partition(".")[0]: operation.view for operation in operations}
    assert views == {"t": True, "view": True, "add_": False, "clone": False}
    assert [timer.seconds(operation) for operation in operations if operation.view] == [0.0, 0.0]
    assert all(timer.seconds(operation) > 0 for operation in operations if not operation.view)


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_each_operator_of_a_step_without_values_runs_alone(
    optimizer: type[torch.optim.Optimizer], backbones: dict[str, str]
) -> None:
    """None of them needs the fallback to rates, for operators that cannot run on zeros."""
    lengths = SyntheticRows(tokens=12)
    fake, task = FakePretrained(str(Path(backbones["bert"]) / "config.json"), lengths), lengths.task("encoder")
    backbone, operations = fake.fresh_copy(task, 0), Operations()
    batch = backbone.encode(task, task.splits["train"], 12).batch([0, 1, 2])
    step = optimizer(backbone.model.parameters(), lr=0.1)  # type: ignore[call-arg]  # both have it
    backbone.model.train()
    with Ledger(backbone.model, observer=operations) as ledger:
        with ledger.phase("forward"):
            loss = backbone.loss(batch)
        with ledger.phase("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with ledger.phase("optimizer"):
            step.step()
            step.zero_grad()
    phases = operations.drain()
    assert set(phases) == {"forward", "backward", "optimizer"}
    products = {phase: sum(each.flops * n for each, n in counts.items()) for phase, counts in phases.items()}
    assert products["backward"] == pytest.approx(2 * products["forward"], rel=0.1)
    assert products["optimizer"] == 0
    for counts in phases.values():
        for operation in counts:
            args, kwargs = operation.arguments(CPU)
            operation.function(*args, **kwargs)


def test_an_operator_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    timer = OperatorTimer(CPU)
    operation, calls = of(counted(forward=lambda: torch.ones(9).sin()), "forward", "sin"), list[object]()
    monkeypatch.setattr(timer, "_timed", lambda call: calls.append(call) or 0.5)
    assert [timer.seconds(operation) for _ in range(3)] == [0.5] * 3
    assert len(calls) == 1


def test_an_operator_that_cannot_run_is_estimated_from_rates() -> None:
    timer = OperatorTimer(CPU)
    on = f"on cpu, {torch.get_num_threads()} threads"
    timer.use_shared_cache(
        {f"('product', torch.float32) {on}": 1e9, f"('copy', torch.float32) {on}": 1e8}, nullcontext()
    )
    spec = TensorSpec((2,), (1,), torch.float32)

    def fails(_: object) -> None:
        raise RuntimeError("not on zeros")

    _, tree = torch.utils._pytree.tree_flatten(((spec,), {}))
    assert timer.seconds(Operation(fails, (spec,), tree, 3 * 10**9, 8, False)) == 3.0
    assert timer.seconds(Operation(fails, (spec,), tree, 0, 10**8, False)) == 1.0
    assert timer.seconds(Operation(fails, (spec,), tree, 0, 10**6, False)) == 0.01


LARGE = {
    "elementwise": lambda x, weight: x.tanh(),
    "with a row of weights": lambda x, weight: x * weight,
    "normalised": lambda x, weight: torch.nn.functional.layer_norm(x, x.shape[-1:], weight),
    "products of batches": lambda x, weight: torch.bmm(x, x.transpose(1, 2)),
    "softmax": lambda x, weight: x.softmax(-1),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_operator_is_timed_on_part_of_its_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In proportion to its work, without the fallback to rates."""
    monkeypatch.setattr("tunefront.bench.forecast.operator_times.MOST_BYTES", 2**16)
    x, weight, whole = torch.ones(64, 32, 48), torch.ones(48), list[Tensor]()
    operations = counted(forward=lambda: whole.append(LARGE[name](x, weight)))["forward"]
    (operation,) = (each for each in operations if each.large and not each.view)
    timer, ran = OperatorTimer(CPU), list[Any]()
    monkeypatch.setattr(timer, "_timed", lambda call: ran.append(call()) or 0.5)
    seconds = timer.seconds(operation)
    (part,) = (output[0] if isinstance(output, tuple) else output for output in ran)
    fraction = part.numel() / whole[0].numel()
    assert 0 < fraction < 0.5
    assert seconds == pytest.approx(0.5 / fraction, rel=0.02)


def test_timers_with_a_shared_cache_time_an_operator_once(monkeypatch: pytest.MonkeyPatch) -> None:
    operation, known, locked = of(counted(forward=lambda: torch.ones(9).sin()), "forward", "sin"), {}, list[str]()

    @contextmanager
    def lock() -> Iterator[None]:
        locked.append("")
        yield

    first, second = OperatorTimer(CPU), OperatorTimer(CPU)
    for timer in (first, second):
        timer.use_shared_cache(known, lock())
    monkeypatch.setattr(first, "_timed", lambda call: 0.5)
    monkeypatch.setattr(second, "_timed", lambda call: pytest.fail("timed again"))
    assert first.seconds(operation) == second.seconds(operation) == 0.5
    assert len(locked) == 2


def test_a_lookup_reads_only_the_rows_that_it_returns() -> None:
    table, ids = torch.ones(1000, 16), torch.zeros(5, dtype=torch.long)
    lookup = of(counted(forward=lambda: torch.nn.functional.embedding(ids, table)), "forward", "embedding")
    assert lookup.nbytes == 2 * 5 * 16 * 4 + 5 * 8


def test_timing_does_not_change_the_random_state() -> None:
    operations = counted(forward=lambda: torch.nn.functional.dropout(torch.ones(50), 0.5))["forward"]
    before = torch.get_rng_state()
    for operation in operations:
        OperatorTimer(CPU).seconds(operation)
    assert torch.equal(torch.get_rng_state(), before)
