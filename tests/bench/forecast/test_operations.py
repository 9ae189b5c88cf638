"""Operators that are dispatched, what they cost by hand, and that each can be run alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.forecast.made_up import Lengths
from bench.forecast.operations import Blank, Operation, Operations, Pace
from bench.forecast.outlines import Outline

CPU = torch.device("cpu")


def of(operations: Operations, phase: str, name: str) -> Operation:
    """The one operator of that name."""
    (found,) = [one for one in operations.of_phase[phase] if one.function.__name__.startswith(name)]
    return found


def test_operators_are_counted_in_the_phase_they_are_dispatched_in() -> None:
    operations, x = Operations(), torch.ones(3, 3)
    with operations:
        x.exp()  # in no phase
        with operations.phase("forward"):
            x.sin()
            x.sin()
            with operations.phase("backward"):
                x.cos()
            x.cos()
    counted = {
        phase: {one.function.__name__.partition(".")[0]: times for one, times in found.items()}
        for phase, found in operations.of_phase.items()
    }
    assert counted == {"forward": {"sin": 2, "cos": 1}, "backward": {"cos": 1}}


def test_the_same_operator_on_other_shapes_is_another() -> None:
    operations = Operations()
    with operations, operations.phase("forward"):
        torch.ones(3).sin()
        torch.ones(4).sin()
    assert len([one for one in operations.of_phase["forward"] if one.function.__name__.startswith("sin")]) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_matrix_product_by_hand(dtype: torch.dtype) -> None:
    first, second, operations = torch.ones(5, 7, dtype=dtype), torch.ones(7, 11, dtype=dtype), Operations()
    with operations, operations.phase("forward"):
        first @ second
    product = of(operations, "forward", "mm")
    assert product.flops == 2 * 5 * 7 * 11
    assert product.nbytes == dtype.itemsize * (5 * 7 + 7 * 11 + 5 * 11)
    assert not product.view


def test_an_expanded_dimension_is_read_once() -> None:
    row = torch.ones(7)
    assert Blank.of(row.expand(5, 7)).nbytes == 4 * 7
    assert Blank.of(torch.ones(5, 7)).nbytes == 4 * 5 * 7
    assert Blank.of(torch.ones(())).nbytes == 4
    assert Blank.of(torch.ones(5, 0)).nbytes == 0


@pytest.mark.parametrize(
    ("dtype", "value"), [(torch.float32, 0.01), (torch.long, 0), (torch.bool, True), (torch.bfloat16, 0.01)]
)
def test_a_blank_is_filled_as_it_lay(dtype: torch.dtype, value: float) -> None:
    tensor = torch.zeros(4, 6, dtype=dtype).t()[1:]
    made = Blank.of(tensor).filled(CPU)
    assert (made.shape, made.stride(), made.dtype) == (tensor.shape, tensor.stride(), dtype)
    assert torch.equal(made, torch.full_like(made, value))


def test_views_take_no_time_and_what_writes_is_none() -> None:
    x, operations, pace = torch.ones(4, 6), Operations(), Pace(CPU)
    with operations, operations.phase("forward"):
        x.t()
        x.view(24)
        x.add_(1)
        x.clone()
    views = {one.function.__name__.partition(".")[0]: one.view for one in operations.of_phase["forward"]}
    assert views == {"t": True, "view": True, "add_": False, "clone": False}
    assert [pace.seconds(one) for one in operations.of_phase["forward"] if one.view] == [0.0, 0.0]
    assert all(pace.seconds(one) > 0 for one in operations.of_phase["forward"] if not one.view)


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_each_operator_of_a_step_without_values_runs_alone(
    optimizer: type[torch.optim.Optimizer], backbones: dict[str, str]
) -> None:
    """None of them falls back on rates, as one does that cannot be run on zeros."""
    lengths = Lengths(tokens=12)
    drawn, task = Outline(str(Path(backbones["bert"]) / "config.json"), lengths), lengths.task("encoder")
    backbone, operations = drawn.pristine(task, 0), Operations()
    batch = backbone.encode(task, task.splits["train"], 12).batch([0, 1, 2])
    step = optimizer(backbone.model.parameters(), lr=0.1)  # type: ignore[call-arg]  # those named have it
    backbone.model.train()
    with operations:
        with operations.phase("forward"):
            loss = backbone.loss(batch)
        with operations.phase("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with operations.phase("optimizer"):
            step.step()
            step.zero_grad()
    assert set(operations.of_phase) == {"forward", "backward", "optimizer"}
    products = {phase: sum(one.flops * n for one, n in of.items()) for phase, of in operations.of_phase.items()}
    assert products["backward"] == pytest.approx(2 * products["forward"], rel=0.1)
    assert products["optimizer"] == 0
    for found in operations.of_phase.values():
        for operation in found:
            operation.run_on(CPU)()


def test_an_operator_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, operations = Pace(CPU), Operations()
    with operations, operations.phase("forward"):
        torch.ones(9).sin()
    operation, tried = of(operations, "forward", "sin"), list[object]()
    monkeypatch.setattr(pace, "_timed", lambda call: tried.append(call) or 0.5)
    assert [pace.seconds(operation) for _ in range(3)] == [0.5] * 3
    assert len(tried) == 1


def test_an_operator_that_is_too_large_or_cannot_run_follows_from_rates() -> None:
    pace = Pace(CPU)
    pace._rates = {("product", torch.float32): 1e9, ("copy", torch.float32): 1e8}
    blank = Blank((2,), (1,), torch.float32)

    def fails(_: object) -> None:
        raise RuntimeError("not on zeros")

    _, tree = torch.utils._pytree.tree_flatten(((blank,), {}))
    assert pace.seconds(Operation(fails, (blank,), tree, 3 * 10**9, 8, False)) == 3.0
    assert pace.seconds(Operation(fails, (blank,), tree, 0, 10**8, False)) == 1.0
    assert pace.seconds(Operation(fails, (blank,), tree, 0, 10**6, False)) == 0.01


def test_trying_leaves_the_random_numbers_alone() -> None:
    operations = Operations()
    with operations, operations.phase("forward"):
        torch.nn.functional.dropout(torch.ones(50), 0.5)
    before = torch.get_rng_state()
    for operation in operations.of_phase["forward"]:
        Pace(CPU).seconds(operation)
    assert torch.equal(torch.get_rng_state(), before)
