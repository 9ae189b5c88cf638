"""What methods can do is found by trying them, and is what the rest of the suite does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from torch import nn

from docs.scripts import capabilities as capabilities_script
from tunefront.bench.cli.matrix_screen import cell_text, reasons
from tunefront.bench.execution import capabilities as tried
from tunefront.bench.execution.capabilities import Capability, capabilities, default_methods
from tunefront.bench.models.tiny import FAMILIES, LANGUAGE_MODELS, MORE_FAMILIES, MORE_LANGUAGE_MODELS
from tunefront.methods.base import Backbone, Method
from tunefront.methods.registry import methods
from tunefront.methods.sites import SITES
from tunefront.methods.spelling import parse

SOME = ("ia3", "houlsby:bottleneck=4", "knn", "icl", "prompt_tuning", "full")


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], Capability]:
    of = capabilities([parse(name) for name in SOME], ("bert", "gpt2", "llama"))
    return {(each.method.split(":")[0], each.architecture): each for each in of}


def test_what_does_not_run_has_the_methods_own_reason(found: dict[tuple[str, str], Capability]) -> None:
    assert "encoder" in (found["icl", "bert"].reason or "")
    assert {name for name, each in found.items() if not each.runs} == {("icl", "bert")}
    assert len(reasons(list(found.values()))) == 1


@pytest.mark.parametrize(
    ("method", "start"), [("ia3", "="), ("full", "="), ("houlsby", "≈"), ("prompt_tuning", "≠"), ("knn", "")]
)
def test_where_training_starts(method: str, start: str, found: dict[tuple[str, str], Capability]) -> None:
    assert found[method, "bert"].start == start


def test_forms_are_those_of_a_record(found: dict[tuple[str, str], Capability]) -> None:
    assert "merged" in found["ia3", "llama"].forms
    assert "merged" not in found["houlsby", "llama"].forms
    assert all("safetensors" in each.forms for each in found.values() if each.runs)
    assert "peft" in found["ia3", "llama"].forms
    assert "peft" not in found["ia3", "gpt2"].forms, "which has keys and values in a part of an output"
    assert cell_text(found["icl", "bert"]) == "–"
    assert cell_text(found["full", "bert"]).startswith("= M")


def test_a_method_of_ones_own_is_tried_too(fresh_registry: None) -> None:
    class Broken(Method):
        """Shifts the states, which is no start at the pretrained model."""

        name = "shifting"

        def attach(self, backbone: Backbone) -> None:
            backbone.freeze(keep=backbone.head)
            norms = [module for module in backbone.model.modules() if isinstance(module, nn.LayerNorm)]
            norms[-1].register_forward_hook(lambda module, inputs, output: output + 3.0)

    (each,) = capabilities([Broken()], ("bert",))
    assert each.start == "≠"


def test_every_registered_method_has_defaults() -> None:
    assert {method.name for method in default_methods()} >= {"full", "lora", "icl"}
    assert len(default_methods()) == len(methods())


def test_the_few_architectures_are_of_every_kind() -> None:
    def kinds(names: Sequence[str]) -> set[str]:
        return {tried.LANGUAGE_MODELS.get(name, "encoder") for name in names}

    assert kinds(tried.FEW) == kinds(tried.ARCHITECTURES) == {"encoder", "decoder", "seq2seq"}


def test_every_record_of_sites_has_a_tiny_model() -> None:
    variants = {name: architecture for name, (architecture, _) in MORE_FAMILIES.items()}
    language = (*LANGUAGE_MODELS, *MORE_LANGUAGE_MODELS)
    made = {*FAMILIES, *variants.values(), *(name.partition("-")[0] for name in language)}
    assert made == set(SITES)


def test_the_table_in_the_documents_has_every_architecture_and_counts_every_method() -> None:
    _, _, *rows = capabilities_script.MODELS.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert tuple(row[0].strip("`") for row in cells) == tried.ARCHITECTURES
    shipped = [name for name, cls in methods().items() if not cls.__module__.startswith("tests.")]
    for _, runs, others in cells:
        count, total = map(int, runs.split(" of "))
        assert total == len(shipped)
        assert count + others.count("`") // 2 == total


@pytest.mark.slow
def test_the_table_in_the_documents_is_what_is_found() -> None:
    found = capabilities([parse(name) for name in methods()], tried.ARCHITECTURES)
    assert capabilities_script.by_architectures(found) == capabilities_script.MODELS.read_text(encoding="utf-8")
