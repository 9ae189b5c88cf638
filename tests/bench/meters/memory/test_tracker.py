"""The memory ledger, against bytes computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.optimizer import _global_optimizer_post_hooks
from torch.utils.checkpoint import checkpoint

from tunefront.bench.meters.memory.tracker import Ledger
from tunefront.bench.models.fast_copy import CopyTemplate
from tunefront.bench.training.optimizers import make_optimizer
from tunefront.methods.base import Recipe, trained

ROWS, INPUTS, INNER, OUTPUTS = 3, 4, 8, 2
FLOAT = 4


def perceptron(frozen: bool) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(INPUTS, INNER), nn.ReLU(), nn.Linear(INNER, OUTPUTS))
    model[0].requires_grad_(not frozen)
    model.register_buffer("offset", torch.zeros(5, dtype=torch.float64))
    return model


def step(model: nn.Module, batch: Tensor, optimizer: str = "adamw") -> Ledger:
    with Ledger(model) as ledger:
        with ledger.phase("load"):
            pass
        ledger.own("inputs", [batch])
        with ledger.phase("forward"):
            loss = model(batch).sum()
        with ledger.phase("backward"):
            loss.backward()
        del loss
        recipe = Recipe(optimizer=optimizer, learning_rate=0.1)
        stepper = make_optimizer(trained(model), recipe)
        with ledger.phase("optimizer"):
            stepper.step()
    return ledger


FIRST, LAST = (INPUTS + 1) * INNER * FLOAT, (INNER + 1) * OUTPUTS * FLOAT
BUFFER = 5 * 8
INNER_STATES, OUT = ROWS * INNER * FLOAT, ROWS * OUTPUTS * FLOAT
BATCH = ROWS * INPUTS * FLOAT


def test_a_frozen_layer_by_hand() -> None:
    """The result of ReLU is saved, once although ReLU and the last layer both save it; the first layer saves nothing.
    The peak of forward is within ReLU, which holds its argument and its result."""
    ledger = step(perceptron(frozen=True), torch.randn(ROWS, INPUTS))
    weights = {"frozen_weights": FIRST + BUFFER, "trained_weights": LAST}
    assert ledger.peaks == {
        "load": weights,
        "forward": {**weights, "inputs": BATCH, "saved_activations": INNER_STATES, "temporary": INNER_STATES},
        "backward": {
            **weights,
            "inputs": BATCH,
            "gradients": LAST,
            "saved_activations": INNER_STATES,
            "temporary": 2 * FLOAT,  # the loss and its gradient; the gradient that flows back is a view
        },
        "optimizer": {
            **weights,
            "inputs": BATCH,
            "gradients": LAST,
            "optimizer_state": 2 * LAST + 2 * FLOAT,  # two moments, and a step count per tensor
        },
    }


def test_all_trained_by_hand() -> None:
    """The batch is saved for the weights of the first layer and stays an input. The peak of backward is where ReLU
    computes a gradient from another and its result, before the gradients of the first layer exist."""
    ledger = step(perceptron(frozen=False), torch.randn(ROWS, INPUTS))
    weights = {"frozen_weights": BUFFER, "trained_weights": FIRST + LAST}
    assert ledger.peaks["load"] == weights
    assert ledger.peaks["forward"] == {
        **weights,
        "inputs": BATCH,
        "saved_activations": INNER_STATES,
        "temporary": INNER_STATES,
    }
    assert ledger.peaks["backward"] == {
        **weights,
        "inputs": BATCH,
        "gradients": LAST,
        "saved_activations": INNER_STATES,
        "temporary": 2 * INNER_STATES + 2 * FLOAT,
    }
    assert ledger.peaks["optimizer"] == {
        **weights,
        "inputs": BATCH,
        "gradients": FIRST + LAST,
        "optimizer_state": 2 * (FIRST + LAST) + 4 * FLOAT,
    }


def peaks_of(run: Callable[[Ledger], object], model: nn.Module | None = None) -> dict[str, int]:
    with Ledger(model or nn.Module()) as ledger, ledger.phase("forward"):
        run(ledger)
    return ledger.peaks.get("forward", {})


def test_views_and_in_place_changes_hold_no_memory() -> None:
    def run(_: Ledger) -> None:
        first = torch.zeros(10, 10)
        kept = [first.view(100), first.t(), first[2:5], first.detach(), first.expand(3, 10, 10)]
        first.add_(1).clamp_(0, 1)
        torch.mul(first, 2, out=first)
        del kept

    assert peaks_of(run) == {"temporary": 400}


def test_a_view_keeps_the_whole_storage() -> None:
    def run(_: Ledger) -> None:
        row = torch.zeros(100, 10)[0]
        more = torch.zeros(5)
        del row, more

    assert peaks_of(run) == {"temporary": 4000 + 20}


def test_the_peak_is_the_most_bytes_held_at_once() -> None:
    def run(_: Ledger) -> None:
        for _number in range(5):
            torch.zeros(1000)
        small = torch.zeros(10)
        del small

    assert peaks_of(run) == {"temporary": 4000}


def test_an_out_argument_that_grows_counts_with_its_final_size() -> None:
    def run(_: Ledger) -> None:
        made = torch.zeros(1)[:0]
        torch.add(torch.ones(50), torch.ones(50), out=made)

    assert peaks_of(run) == {"temporary": 600}


def test_tensors_from_outside_are_inputs_once_they_are_read() -> None:
    before = torch.ones(100)

    def run(_: Ledger) -> None:
        before.sum()

    assert peaks_of(run) == {"inputs": 400, "temporary": 4}
    assert peaks_of(lambda _: torch.tensor([1.0, 2.0])) == {"temporary": 8}


def test_a_shared_weight_counts_once_and_is_trained_if_one_use_is() -> None:
    model = nn.ModuleList([nn.Linear(6, 5, bias=False), nn.Linear(6, 5, bias=False)])
    model[1].weight = model[0].weight
    assert peaks_of(lambda _: None, model) == {"trained_weights": 120}
    model[1].weight = nn.Parameter(model[0].weight.detach(), requires_grad=False)
    assert peaks_of(lambda _: None, model) == {"trained_weights": 120}


def test_a_weight_saved_for_backward_stays_a_weight() -> None:
    model = perceptron(frozen=True)
    batch = torch.randn(ROWS, INPUTS, requires_grad=True)  # makes the first layer save its weight
    owners = step(model, batch).peaks["forward"]
    assert owners["frozen_weights"] == FIRST + BUFFER
    assert owners["trained_weights"] == LAST


def test_an_owner_set_late_in_a_phase_counts_at_its_peak() -> None:
    def run(ledger: Ledger) -> None:
        keys = torch.zeros(10)
        torch.zeros(1000)
        ledger.own("kv_cache", [keys])

    assert peaks_of(run) == {"kv_cache": 40, "temporary": 4000}


def test_a_phase_entered_twice_keeps_the_larger_peak() -> None:
    with Ledger(nn.Module()) as ledger:
        for size in (10, 30, 20):
            with ledger.phase("evaluation"):
                torch.zeros(size)
        with ledger.phase("query"):
            pass
    assert ledger.peaks == {"evaluation": {"temporary": 120}}


def test_tensors_freed_before_a_phase_do_not_count() -> None:
    with Ledger(nn.Module()) as ledger:
        kept, gone = torch.zeros(5), torch.zeros(500)
        del gone
        with ledger.phase("evaluation"):
            kept += 1
    assert ledger.peaks == {"evaluation": {"temporary": 20}}


def test_wrong_owners_and_nested_phases_are_refused() -> None:
    with Ledger(nn.Module()) as ledger:
        with pytest.raises(ValueError, match=r"'cache'.* frozen_weights"):
            ledger.own("cache", [torch.zeros(1)])
        nested = pytest.raises(RuntimeError, match="'backward' within phase 'forward'")
        with ledger.phase("forward"), nested, ledger.phase("backward"):
            pass


def test_nothing_is_left_on_the_model_or_the_optimiser() -> None:
    model = perceptron(frozen=False)
    step(model, torch.randn(ROWS, INPUTS))
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())
    assert not _global_optimizer_post_hooks
    loss = model(torch.randn(ROWS, INPUTS)).sum()
    model[2].weight.data.mul_(2)
    with torch.no_grad():
        model[2].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_the_ledger_changes_no_number() -> None:
    batch, models = torch.randn(ROWS, INPUTS), [perceptron(frozen=False), perceptron(frozen=False)]
    followed, plain = models
    step(followed, batch)
    plain(batch).sum().backward()
    make_optimizer(trained(plain), Recipe(learning_rate=0.1)).step()
    for actual, expected in zip(followed.parameters(), plain.parameters(), strict=True):
        assert torch.equal(actual, expected)
        assert torch.equal(actual.grad, expected.grad)


def test_a_dropped_graph_frees_its_activations() -> None:
    """Without a backward pass: saved tensors must not keep their node alive."""

    def run(_: Ledger) -> None:
        weight = torch.zeros(100, requires_grad=True)
        for _number in range(3):
            weight.exp().sigmoid()

    assert peaks_of(run) == {"saved_activations": 800, "temporary": 400}


def test_gradient_checkpointing_saves_less_and_recomputes() -> None:
    """Three segments in a row: the inputs of the segments are kept, and in backward one segment at a time."""

    def peaks(checkpointed: bool) -> dict[str, dict[str, int]]:
        model = nn.ParameterList([torch.ones(250)])

        def segment(states: Tensor) -> Tensor:
            return states.sin().exp().cos()

        with Ledger(model) as ledger:
            with ledger.phase("forward"):
                states = model[0] * 1
                for _ in range(3):
                    states = checkpoint(segment, states, use_reentrant=False) if checkpointed else segment(states)
                loss = states.sum()
                del states
            with ledger.phase("backward"):
                loss.backward()
        return ledger.peaks

    assert peaks(False)["forward"]["saved_activations"] == 6 * 1000  # three inputs and three results of exp
    assert peaks(True)["forward"]["saved_activations"] == 3 * 1000
    assert peaks(True)["backward"]["saved_activations"] >= 3 * 1000
    assert sum(peaks(True)["backward"].values()) < sum(peaks(False)["backward"].values())


def test_copies_of_weights_under_autocast_are_saved_or_temporary() -> None:
    """The bf16 copy of a trained layer is kept for backward if its input needs a gradient."""
    model = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
    batch = torch.randn(2, 16)
    with Ledger(model) as ledger, ledger.phase("forward"), torch.autocast("cpu", torch.bfloat16):
        loss = model(batch).float().sum()
    copy, states = 16 * 16 * 2, 2 * 16 * 2
    owners = ledger.peaks["forward"]
    assert owners["trained_weights"] == 2 * 16 * 16 * 4
    assert owners["saved_activations"] == 2 * states + copy  # the cast batch, the first layer's result, the last's copy
    assert loss.requires_grad


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("frozen", [True, False])
def test_fake_tensors_give_the_same_peaks(frozen: bool, optimizer: str) -> None:
    model = perceptron(frozen)
    real = step(perceptron(frozen), torch.randn(ROWS, INPUTS), optimizer)
    fake = step(faked(model), torch.randn(ROWS, INPUTS), optimizer)
    assert fake.peaks == real.peaks
    assert fake.operations == real.operations


def faked(model: nn.Module) -> nn.Module:
    """A copy of the model whose parameters and buffers are fake; no mode is active afterwards."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    tensors = [*model.parameters(), *model.buffers()]
    fakes = []
    for tensor in tensors:
        fake = mode.from_tensor(tensor.detach(), static_shapes=True)
        fakes.append(nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake)
    return CopyTemplate(model, tensors).build(fakes)
