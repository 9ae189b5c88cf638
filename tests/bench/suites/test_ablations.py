"""Ablations: the cells of each, with the suite's methods and with those of a call; and wrong options."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tunefront.bench.cells import Cell
from tunefront.bench.cli.options import Ablation as Offered
from tunefront.bench.errors import UserError
from tunefront.bench.suites.ablations import KINDS, Ablation
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.toml import known_suites
from tunefront.methods.spelling import label

pytestmark = pytest.mark.usefixtures("world")


def cells(what: str, values: Any = None, spans: str | None = None, **overrides: Any) -> tuple[Cell, ...]:
    ablation = Ablation.of(what, values, spans)
    return expand(ablation.suite, ablation.with_spans(Overrides(**overrides)), vary=ablation.vary).cells


def labels(found: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(label(cell.method) for cell in found))


def errors_of(what: str, values: Any = None, spans: str | None = None, **overrides: Any) -> str:
    with pytest.raises(UserError) as caught:
        cells(what, values, spans, **overrides)
    return str(caught.value)


def test_every_ablation_has_a_suite_and_is_offered() -> None:
    assert set(KINDS) == {each.value for each in Offered}
    assert {f"ablate_{what}" for what in KINDS} <= set(known_suites())


@pytest.mark.parametrize("what", KINDS)
def test_without_options_an_ablation_is_its_suite(what: str) -> None:
    assert cells(what) == expand(f"ablate_{what}").cells


def test_spans_are_a_setting_of_every_cell() -> None:
    assert {cell.config.removed_spans for cell in cells("spans")} == {"all"}
    assert {cell.config.removed_spans for cell in cells("spans", spans="0-2,3-5")} == {"0-2,3-5"}
    assert labels(cells("spans", methods=["lora", "ia3"])) == ["lora", "ia3"]


def test_deviations_go_from_1e_minus_7_to_1() -> None:
    assert sorted(cell.method.std for cell in cells("init", tasks=["docstrings/kind"], draws=[0])) == pytest.approx(  # type: ignore[attr-defined]
        [10.0**power for power in range(-7, 1)]
    )


def test_a_method_of_the_call_gets_the_deviations_of_the_suite_or_those_of_the_call() -> None:
    assert len(labels(cells("init", methods=["lora:rank=2"]))) == 8
    assert labels(cells("init", [1e-4, 0.5], methods=["lora:rank=2"])) == [
        "lora:rank=2,std=0.0001",
        "lora:rank=2,std=0.5",
    ]
    assert labels(cells("init", "1e-4,0.5"))[-1] == "houlsby:std=0.5"


def test_sizes_are_powers_of_two_with_others_beside_them() -> None:
    found = labels(cells("size"))
    assert [name for name in found if not name.startswith("houlsby")] == ["layernorm", "full"]
    sizes = [cell.method.bottleneck for cell in cells("size", tasks=["docstrings/kind"], draws=[0])[:10]]  # type: ignore[attr-defined]
    assert sizes == [2**power for power in range(10)]


@pytest.mark.parametrize(
    ("method", "values", "expected"),
    [
        ("parallel_adapter:scale=2.0", None, 10),  # its size has the name of the suite's
        ("lora", None, 6),  # another name: the sizes that the method declares
        ("lora:alpha=1", [1, 4], 2),
        ("fish", None, None),
    ],
)
def test_a_method_of_the_call_is_swept_over_its_own_size(method: str, values: Any, expected: int | None) -> None:
    found = labels(cells("size", values, methods=[method]))
    assert len(found) == expected if expected else len(found) > 1


def test_methods_without_a_size_run_beside_those_with_one() -> None:
    assert labels(cells("size", [8, 16], methods=["houlsby", "bitfit"])) == [
        "houlsby:bottleneck=8",
        "houlsby:bottleneck=16",
        "bitfit",
    ]


def test_layers_go_up_to_all_blocks_of_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tunefront.bench.models.config"], "block_count", lambda name: 4)
    found = cells("layers", tasks=["docstrings/kind"], draws=[0])
    assert [cell.method.n for cell in found if cell.method.name == "top_layers"] == [1, 2, 3, 4]  # type: ignore[attr-defined]
    assert {"layernorm", "full"} < set(labels(found))
    assert labels(cells("layers", [2, 3], methods=["top_layers"])) == ["top_layers", "top_layers:n=3"]


def switches(found: Sequence[Cell]) -> set[tuple[float, float, float]]:
    return {
        (cell.recipe.likelihood_weight, cell.recipe.unlikelihood_weight, cell.recipe.length_normalised_weight)
        for cell in found
        if cell.method.trains
    }


@pytest.mark.parametrize("methods", [None, ["lora"], ["lora", "houlsby"]])
def test_losses_are_seven_combinations_and_the_untrained_model(methods: list[str] | None) -> None:
    found = cells("losses", methods=methods)
    assert len(switches(found)) == 7
    assert (0.0, 0.0, 0.0) not in switches(found)
    assert len([cell for cell in found if not cell.method.trains]) == len({cell.task for cell in found})
    trained = {cell.method.name for cell in found if cell.method.trains}
    assert trained == set(methods or ["ia3"])
    per_method = len({cell.task for cell in found}) * len({cell.draw_seed for cell in found}) * 7
    assert len(found) == len(trained) * per_method + len({cell.task for cell in found})


def test_demonstrations_run_beside_the_methods_of_a_call_on_language_models_alone() -> None:
    found = cells("shots", methods=["bitfit"])
    by_backbone = {name: labels([cell for cell in found if cell.backbone == name]) for name in ("minilm", "nano")}
    assert by_backbone == {"minilm": ["bitfit"], "nano": ["bitfit", "icl"]}
    assert {cell.shots for cell in cells("shots", shots=[4, None])} == {4, None}


@pytest.mark.parametrize(
    ("what", "given", "facts"),
    [
        ("spams", {}, ["spams", "did you mean 'spans'"]),
        ("spans", {"spans": "0-9"}, ["0-9", "minilm", "0 to 5"]),
        ("spans", {"spans": "3-1"}, ["3-1"]),
        ("spans", {"spans": "x"}, ["'x'"]),
        ("spans", {"spans": "0", "settings": {"removed_spans": "1"}}, ["--spans", "--set"]),
        ("spans", {"values": [1]}, ["--values", "--spans"]),
        ("size", {"spans": "0"}, ["--spans", "ablate size"]),
        ("losses", {"values": [1]}, ["--values"]),
        ("shots", {"values": [1]}, ["--values", "--shots"]),
        ("init", {"values": "x,1"}, ["'x'", "std"]),
        ("init", {"values": [-1]}, ["std must be at least 0"]),
        ("init", {"values": "1,1"}, ["--values", "twice"]),
        ("init", {"values": 3}, ["must be a list", "3"]),
        ("init", {"methods": ["full"]}, ["full has none", "houlsby", "lora"]),
        ("size", {"values": [1.5]}, ["'1.5'", "whole numbers"]),
        ("size", {"values": [0]}, ["bottleneck must be at least 1"]),
        ("size", {"methods": ["bitfit", "full"]}, ["bitfit, full have none", "houlsby"]),
        ("layers", {"methods": ["compacter"]}, ["compacter has none", "top_layers"]),
        ("losses", {"backbones": ["minilm"]}, ["language model", "minilm"]),
        ("losses", {"methods": ["icl"]}, ["a method that trains"]),
    ],
)
def test_wrong_options_say_what_is_wrong(what: str, given: dict[str, Any], facts: list[str]) -> None:
    message = errors_of(what, **given)
    assert [fact for fact in facts if fact not in message] == []


def test_wrong_values_are_reported_together() -> None:
    message = errors_of("size", values="x,0,8")
    assert "'x'" in message
    assert "at least 1" in message
