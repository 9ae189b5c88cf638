"""Operators that are dispatched, what they cost by hand, and that each can be run alone."""

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
    """The operators of each phase, as a ledger tells them."""
    operations = Operations()
    with Ledger(torch.nn.Module(), observer=operations) as ledger:
        torch.ones(3, 3).exp()  # in no phase
        for name, run in phases.items():
            with ledger.phase(name):
                run()
    found = operations.taken()
    assert operations.taken() == {}
    return found


def of(phases: Phases, phase: str, name: str) -> Operation:
    """The one operator of that name."""
    (found,) = [one for one in phases[phase] if one.function.__name__.startswith(name)]
    return found


def test_operators_are_counted_in_the_phase_they_are_dispatched_in() -> None:
    x = torch.ones(3, 3)
    found = counted(forward=lambda: (x.sin(), x.sin(), x.cos()), backward=lambda: x.cos())
    names = {
        phase: {one.function.__name__.partition(".")[0]: times for one, times in of_phase.items()}
        for phase, of_phase in found.items()
    }
    assert names == {"forward": {"sin": 2, "cos": 1}, "backward": {"cos": 1}}


def test_the_same_operator_on_other_shapes_is_another() -> None:
    found = counted(forward=lambda: (torch.ones(3).sin(), torch.ones(4).sin()))
    assert len([one for one in found["forward"] if one.function.__name__.startswith("sin")]) == 2


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
def test_a_blank_is_filled_as_it_lay(dtype: torch.dtype, value: float) -> None:
    tensor = torch.zeros(4, 6, dtype=dtype).t()[1:]
    made = TensorSpec.of(tensor).filled(CPU)
    assert (made.shape, made.stride(), made.dtype) == (tensor.shape, tensor.stride(), dtype)
    assert torch.equal(made, torch.full_like(made, value))


def test_views_take_no_time_and_what_writes_is_none() -> None:
    x, pace = torch.ones(4, 6), OperatorTimer(CPU)
    found = counted(forward=lambda: (x.t(), x.view(24), x.add_(1), x.clone()))["forward"]
    views = {one.function.__name__.partition(".")[0]: one.view for one in found}
    assert views == {"t": True, "view": True, "add_": False, "clone": False}
    assert [pace.seconds(one) for one in found if one.view] == [0.0, 0.0]
    assert all(pace.seconds(one) > 0 for one in found if not one.view)


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_each_operator_of_a_step_without_values_runs_alone(
    optimizer: type[torch.optim.Optimizer], backbones: dict[str, str]
) -> None:
    """None of them falls back on rates, as one does that cannot be run on zeros."""
    lengths = SyntheticRows(tokens=12)
    drawn, task = FakePretrained(str(Path(backbones["bert"]) / "config.json"), lengths), lengths.task("encoder")
    backbone, operations = drawn.fresh_copy(task, 0), Operations()
    batch = backbone.encode(task, task.splits["train"], 12).batch([0, 1, 2])
    step = optimizer(backbone.model.parameters(), lr=0.1)  # type: ignore[call-arg]  # those named have it
    backbone.model.train()
    with Ledger(backbone.model, observer=operations) as ledger:
        with ledger.phase("forward"):
            loss = backbone.loss(batch)
        with ledger.phase("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with ledger.phase("optimizer"):
            step.step()
            step.zero_grad()
    phases = operations.taken()
    assert set(phases) == {"forward", "backward", "optimizer"}
    products = {phase: sum(one.flops * n for one, n in found.items()) for phase, found in phases.items()}
    assert products["backward"] == pytest.approx(2 * products["forward"], rel=0.1)
    assert products["optimizer"] == 0
    for found in phases.values():
        for operation in found:
            args, kwargs = operation.arguments(CPU)
            operation.function(*args, **kwargs)


def test_an_operator_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = OperatorTimer(CPU)
    operation, tried = of(counted(forward=lambda: torch.ones(9).sin()), "forward", "sin"), list[object]()
    monkeypatch.setattr(pace, "_timed", lambda call: tried.append(call) or 0.5)
    assert [pace.seconds(operation) for _ in range(3)] == [0.5] * 3
    assert len(tried) == 1


def test_an_operator_that_is_too_large_or_cannot_run_follows_from_rates() -> None:
    pace = OperatorTimer(CPU)
    on = f"on cpu, {torch.get_num_threads()} threads"
    pace.share({f"('product', torch.float32) {on}": 1e9, f"('copy', torch.float32) {on}": 1e8}, nullcontext())
    blank = TensorSpec((2,), (1,), torch.float32)

    def fails(_: object) -> None:
        raise RuntimeError("not on zeros")

    _, tree = torch.utils._pytree.tree_flatten(((blank,), {}))
    assert pace.seconds(Operation(fails, (blank,), tree, 3 * 10**9, 8, False)) == 3.0
    assert pace.seconds(Operation(fails, (blank,), tree, 0, 10**8, False)) == 1.0
    assert pace.seconds(Operation(fails, (blank,), tree, 0, 10**6, False)) == 0.01


LARGE = {
    "elementwise": lambda x, weight: x.tanh(),
    "with a row of weights": lambda x, weight: x * weight,
    "normalised": lambda x, weight: torch.nn.functional.layer_norm(x, x.shape[-1:], weight),
    "products of batches": lambda x, weight: torch.bmm(x, x.transpose(1, 2)),
    "softmax": lambda x, weight: x.softmax(-1),
}


@pytest.mark.parametrize("name", LARGE)
def test_of_a_large_operator_a_part_of_its_rows_is_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In proportion to its work; none follows from the rates of others."""
    monkeypatch.setattr("tunefront.bench.forecast.operator_times.MOST_BYTES", 2**16)
    x, weight, whole = torch.ones(64, 32, 48), torch.ones(48), list[Tensor]()
    found = counted(forward=lambda: whole.append(LARGE[name](x, weight)))["forward"]
    (operation,) = (one for one in found if one.large and not one.view)
    pace, ran = OperatorTimer(CPU), list[Any]()
    monkeypatch.setattr(pace, "_timed", lambda call: ran.append(call()) or 0.5)
    seconds = pace.seconds(operation)
    (part,) = (one[0] if isinstance(one, tuple) else one for one in ran)
    share = part.numel() / whole[0].numel()
    assert 0 < share < 0.5
    assert seconds == pytest.approx(0.5 / share, rel=0.02)


def test_what_one_found_out_another_does_not_try(monkeypatch: pytest.MonkeyPatch) -> None:
    operation, known, held = of(counted(forward=lambda: torch.ones(9).sin()), "forward", "sin"), {}, list[str]()

    @contextmanager
    def alone() -> Iterator[None]:
        held.append("")
        yield

    first, second = OperatorTimer(CPU), OperatorTimer(CPU)
    for pace in (first, second):
        pace.share(known, alone())
    monkeypatch.setattr(first, "_timed", lambda call: 0.5)
    monkeypatch.setattr(second, "_timed", lambda call: pytest.fail("tried again"))
    assert first.seconds(operation) == second.seconds(operation) == 0.5
    assert len(held) == 2


def test_a_lookup_reads_what_it_returns() -> None:
    table, ids = torch.ones(1000, 16), torch.zeros(5, dtype=torch.long)
    found = of(counted(forward=lambda: torch.nn.functional.embedding(ids, table)), "forward", "embedding")
    assert found.nbytes == 2 * 5 * 16 * 4 + 5 * 8


def test_trying_leaves_the_random_numbers_alone() -> None:
    found = counted(forward=lambda: torch.nn.functional.dropout(torch.ones(50), 0.5))
    before = torch.get_rng_state()
    for operation in found["forward"]:
        OperatorTimer(CPU).seconds(operation)
    assert torch.equal(torch.get_rng_state(), before)
