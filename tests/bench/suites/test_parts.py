"""Suites of several parts: what they inherit from the file, which ones a call selects, and errors in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench.world import World
from tunefront.bench.errors import ErrorCollector, UserErrors
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.grids import build_grids
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.toml import read_suite
from tunefront.methods.base import Method
from tunefront.methods.fish import Fish
from tunefront.methods.full import Full
from tunefront.methods.ia3 import IA3
from tunefront.methods.icl import ICL

pytestmark = pytest.mark.usefixtures("world")

TWO = """
methods = ["full", "ia3"]
tasks = ["docstrings/kind"]
[recipe]
batch_size = 4
epochs = 2
[recipe.ia3]
epochs = 5
warmup = 0.3
[settings]
max_length = 64
eval_rows = 100

[[part]]
backbones = ["minilm"]

[[part]]
methods = ["ia3", "icl:k=4"]
backbones = ["nano"]
shots = [32]
[part.recipe]
steps = 60
[part.recipe.ia3]
warmup = 0.0
[part.settings]
eval_rows = 200
"""
"""A part for an encoder, and a part for a language model with its own methods, shots and some settings."""


@pytest.fixture
def two(tmp_path: Path) -> str:
    """The path of a suite of two parts."""
    return write(tmp_path, TWO)


def write(folder: Path, text: str) -> str:
    path = folder / "two.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def selected(suite: str, *backbones: str) -> list[tuple[str, str]]:
    """(backbone, method) of the cells for these backbones, each pair once."""
    cells = expand(suite, Overrides(backbones=backbones or None)).cells
    return list(dict.fromkeys((cell.backbone, cell.method.name) for cell in cells))


def test_a_part_has_the_file_s_entries_but_for_its_own(two: str) -> None:
    minilm, nano = read_suite(two, ErrorCollector()).parts
    assert (minilm.methods, minilm.shots, nano.methods, nano.shots) == (
        ("full", "ia3"),
        (None,),
        ("ia3", "icl:k=4"),
        (32,),
    )
    assert minilm.tasks == nano.tasks == ("docstrings/kind",)
    assert minilm.settings == {"max_length": 64, "eval_rows": 100}
    assert nano.settings == {"max_length": 64, "eval_rows": 200}


def test_a_table_of_a_part_replaces_single_fields_and_methods_keep_their_own(two: str) -> None:
    recipes = {(cell.backbone, cell.method.name): cell.recipe for cell in expand(two).cells}
    minilm, nano = recipes["minilm", "ia3"], recipes["nano", "ia3"]
    assert (minilm.batch_size, minilm.epochs, minilm.steps, minilm.warmup) == (4, 5, None, 0.3)
    assert (nano.batch_size, nano.epochs, nano.steps, nano.warmup) == (4, 5, None, 0.0)
    assert recipes["minilm", "full"].steps is None


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("[[part]]\n[part.recipe]\nepochs = 2\n", {}),
        ("[recipe]\nsteps = 7\n[[part]]\n[part.recipe]\nepochs = 2\n", {}),
        ("[recipe.fish]\nsteps = 7\n[[part]]\n[part.recipe.fish]\nepochs = 2\n", {}),
        ("[recipe.fish]\nsteps = 7\n[search]\nepochs = [2]\n", {}),
        ("[recipe]\nsteps = 7\n[search]\nbudget = 1\n", {"epochs": "2"}),
    ],
)
def test_epochs_take_the_place_of_the_steps_that_a_method_or_the_file_names(
    tmp_path: Path, text: str, call: dict[str, str]
) -> None:
    suite = write(tmp_path, 'methods = ["fish"]\nbackbones = ["minilm"]\ntasks = ["docstrings/kind"]\n' + text)
    (cell,) = expand(suite, Overrides(settings=call)).cells
    assert Fish.recipe is not None
    assert Fish.recipe.steps is not None, "a method that names steps"
    assert (cell.recipe.epochs, cell.recipe.steps) == (2.0, None)
    assert "steps" not in cell.title


def test_steps_named_with_epochs_or_after_them_replace_them(tmp_path: Path) -> None:
    head = 'methods = ["fish"]\nbackbones = ["minilm"]\ntasks = ["docstrings/kind"]\n'
    for text in ("[recipe]\nsteps = 7\nepochs = 2\n", "[recipe]\nepochs = 2\n[recipe.fish]\nsteps = 7\n"):
        (cell,) = expand(write(tmp_path, head + text)).cells
        assert cell.recipe.steps == 7


def test_a_part_searches_by_itself_and_holds_rows_out_by_itself(tmp_path: Path) -> None:
    text = TWO.replace("shots = [32]", "shots = [64]") + "[part.search]\nlearning_rate = [1e-3, 1e-2]\n"
    cells = expand(write(tmp_path, text)).cells
    tried = {(cell.backbone, cell.method.name, cell.recipe.learning_rate, cell.config.select) for cell in cells}
    assert {found for found in tried if found[:2] == ("nano", "ia3")} == {
        ("nano", "ia3", 1e-3, True),
        ("nano", "ia3", 1e-2, True),
    }
    assert {select for backbone, *_, select in tried if backbone == "minilm"} == {False}


@pytest.mark.parametrize(
    ("search", "methods", "settings", "held_out"),
    [
        ("learning_rate = [1e-3, 1e-2]", ["ia3", "icl:k=2"], {}, True),
        ("learning_rate = [1e-3, 1e-2]", ["ia3"], {"learning_rate": "0.1"}, False),
        ("learning_rate = [1e-3, 1e-2]", ["icl:k=2"], {}, False),
        ("budget = 3", ["ia3", "icl:k=2"], {}, True),
        ("budget = 3", ["ia3"], {"learning_rate": "0.1"}, False),
        ("budget = 3", ["houlsby"], {"learning_rate": "0.1"}, True),  # its size is searched
        ("budget = 3", ["icl:k=2"], {}, False),
    ],
)
def test_rows_are_held_out_only_where_something_is_searched(
    tmp_path: Path, search: str, methods: list[str], settings: dict[str, str], held_out: bool
) -> None:
    text = f'backbones = ["nano"]\ntasks = ["docstrings/kind"]\nshots = [64]\n[search]\n{search}\n'
    cells = expand(write(tmp_path, text), Overrides(methods=methods, settings=settings)).cells
    assert {cell.config.select for cell in cells} == {held_out}


@pytest.mark.parametrize(
    ("backbones", "expected"),
    [
        ([], [("minilm", "full"), ("minilm", "ia3"), ("nano", "ia3"), ("nano", "icl")]),
        (["nano"], [("nano", "ia3"), ("nano", "icl")]),
        (["minilm"], [("minilm", "full"), ("minilm", "ia3")]),
        (["tiny"], [("tiny", "full"), ("tiny", "ia3")]),
        (["tiny", "nano"], [("tiny", "full"), ("tiny", "ia3"), ("nano", "ia3"), ("nano", "icl")]),
    ],
)
def test_a_backbone_keeps_the_parts_that_name_it_and_a_new_one_runs_the_first(
    two: str, backbones: list[str], expected: list[tuple[str, str]]
) -> None:
    assert selected(two, *backbones) == expected


def test_parts_with_the_same_backbones_or_none_take_a_new_one_together(tmp_path: Path) -> None:
    parts = '[[part]]\nmethods = ["full"]\n[[part]]\nmethods = ["ia3"]\n'
    text = 'tasks = ["docstrings/kind"]\n' + parts
    assert selected(write(tmp_path, 'backbones = ["minilm"]\n' + text), "tiny") == [("tiny", "full"), ("tiny", "ia3")]
    assert selected(write(tmp_path, text), "tiny") == [("tiny", "full"), ("tiny", "ia3")]
    named = text + '[[part]]\nmethods = ["icl"]\nbackbones = ["nano"]\n'
    assert selected(write(tmp_path, named), "nano") == [("nano", "full"), ("nano", "ia3"), ("nano", "icl")]


OF_KINDS = (
    TWO
    + """
[[part]]
methods = ["features"]
backbone_kind = "language model"
"""
)


@pytest.mark.parametrize(
    ("decoders", "backbones", "expected"),
    [
        ([], [], ["full", "ia3", "ia3", "icl"]),
        (["nano"], ["nano"], ["ia3", "icl"]),
        ([], ["tiny"], ["full", "ia3"]),
        (["tiny"], ["tiny"], ["features"]),
        (["tiny"], ["minilm", "tiny"], ["full", "ia3", "features"]),
    ],
)
def test_a_part_for_a_kind_runs_the_backbones_of_that_kind_that_no_part_names(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decoders: list[str],
    backbones: list[str],
    expected: list[str],
) -> None:
    monkeypatch.setattr("tests.bench.world.DECODERS", decoders)
    assert [method for _, method in selected(write(tmp_path, OF_KINDS), *backbones)] == expected


@pytest.mark.parametrize(("shots", "rates"), [(63, {0.5}), (64, {1e-3, 1e-1})])
def test_a_part_for_a_kind_goes_without_a_search_where_there_are_too_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World, shots: int, rates: set[float]
) -> None:
    """The task has no validation split, so that half of the rows would be held out; others stop with an error."""
    monkeypatch.setattr("tests.bench.world.DECODERS", ["tiny"])
    text = f'tasks = ["docstrings/kind"]\nmethods = ["ia3"]\nshots = [{shots}]\n'
    text += "[recipe]\nlearning_rate = 0.5\n[search]\nbudget = 2\n[[part]]\n"
    kind = write(tmp_path, text + 'backbone_kind = "language model"\n')
    monkeypatch.setattr("tunefront.bench.data.sampling.selects_on_validation", lambda task: False)
    cells = expand(kind, Overrides(backbones=["tiny"])).cells
    assert {cell.recipe.learning_rate for cell in cells} == rates
    assert {cell.config.select for cell in cells} == {len(rates) > 1}
    named = write(tmp_path, text + 'backbones = ["tiny"]\n')
    if shots < 64:
        assert "draw at least 64" in errors_of(named, Overrides())[0]


def test_a_file_of_parts_for_kinds_alone_needs_a_backbone(tmp_path: Path) -> None:
    text = 'tasks = ["docstrings/kind"]\nmethods = ["ia3"]\n[[part]]\nbackbone_kind = "language model"\n'
    (message,) = errors_of(write(tmp_path, text), Overrides())
    assert "--backbone" in message


@pytest.mark.parametrize("kind", ['"decoder"', "3", '["encoder"]'])
def test_a_kind_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path, kind: str) -> None:
    messages = errors_of(write(tmp_path, TWO + f"[[part]]\nbackbone_kind = {kind}\n"), Overrides())
    assert any("'encoder', 'language model'" in message for message in messages)


def test_a_part_for_a_kind_names_no_backbones(tmp_path: Path) -> None:
    text = TWO.replace('backbones = ["nano"]', 'backbones = ["nano"]\nbackbone_kind = "language model"')
    (message,) = errors_of(write(tmp_path, text), Overrides())
    assert "part 2" in message
    assert "backbone_kind" in message


def test_a_folder_is_the_part_s_however_its_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    suite = read_suite(write(tmp_path, TWO.replace('"nano"', '"models/mine"')), ErrorCollector())
    monkeypatch.chdir(tmp_path / "models")
    (grid,) = build_grids(suite, Overrides(backbones=["./mine/"]), ErrorCollector())
    assert grid.methods == (IA3(), ICL(k=4))
    assert grid.part.backbones == ("./mine/",)


def test_the_other_lists_and_settings_of_a_call_hold_for_every_part(two: str) -> None:
    cells = expand(
        two, Overrides(methods=["full"], tasks=["docstrings/match"], shots=[8], seeds=[3], settings={"eval_rows": 9})
    ).cells
    assert [(cell.backbone, cell.method, cell.task) for cell in cells] == [
        ("minilm", Full(), "docstrings/match"),
        ("nano", Full(), "docstrings/match"),
    ]
    assert {(cell.shots, cell.seed, cell.config.eval_rows) for cell in cells} == {(8, 3, 9)}


def test_equal_cells_of_two_parts_are_one_and_a_backbone_s_cells_run_together(tmp_path: Path) -> None:
    text = 'methods = ["ia3"]\ntasks = ["docstrings/kind", "docstrings/match"]\n'
    text += '[[part]]\nbackbones = ["tiny", "minilm"]\n[[part]]\nmethods = ["full", "ia3"]\nbackbones = ["tiny"]\n'
    order = [(cell.backbone, cell.task[11:], cell.method.name) for cell in expand(write(tmp_path, text)).cells]
    assert order == [
        ("tiny", "kind", "ia3"),
        ("tiny", "kind", "full"),
        ("tiny", "match", "ia3"),
        ("tiny", "match", "full"),
        ("minilm", "kind", "ia3"),
        ("minilm", "match", "ia3"),
    ]


def test_a_template_is_refused_only_where_no_part_has_a_model_that_reads_it(two: str) -> None:
    cells = expand(two, Overrides(templates=["plain"])).cells
    assert {(cell.backbone, cell.template) for cell in cells} == {("minilm", None), ("nano", "plain")}
    messages = errors_of(two, Overrides(templates=["plain"], backbones=["minilm", "tiny"]))
    assert messages == [
        "template 'plain' was requested, but minilm and tiny are encoders, which take no template; leave it out, or "
        "give a language model."
    ]


def test_what_a_method_starts_from_may_go_with_the_backbone_of_any_part_that_has_it(
    two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[Method, Sequence[str]] = {}

    def check_files(methods: Sequence[Method], backbones: Sequence[str], wrong: ErrorCollector) -> None:
        seen.update(dict.fromkeys(methods, backbones))

    monkeypatch.setattr("tunefront.bench.suites.expand.check_files", check_files)
    expand(two)
    assert seen == {Full(): ["minilm"], IA3(): ["minilm", "nano"], ICL(k=4): ["nano"]}


def test_a_suite_s_method_may_find_too_few_rows_in_the_call_s_and_one_that_the_call_names_may_not(two: str) -> None:
    for fewer in (Overrides(shots=[3]), Overrides(shots=[3], tasks=["docstrings/match"])):
        assert "icl" in {cell.method.name for cell in expand(two, fewer).cells}
    (message,) = errors_of(two, Overrides(shots=[3], methods=["icl:k=4"], backbones=["nano"]))
    assert message.startswith("icl:k=4 needs 4 training rows, but 3 of docstrings/kind are drawn")


def test_rows_that_the_suite_itself_gives_are_enough_for_its_methods(tmp_path: Path) -> None:
    (message,) = errors_of(write(tmp_path, TWO.replace("shots = [32]", "shots = [3]")))
    assert message.startswith("icl:k=4 needs 4 training rows")


def test_rows_that_are_too_few_for_every_method_are_a_mistake(tmp_path: Path) -> None:
    suite = write(tmp_path, TWO.replace('["ia3", "icl:k=4"]', '["icl:k=4", "icl:k=5"]'))
    assert errors_of(suite, Overrides(shots=[3]))[0].startswith("icl:k=4 needs 4 training rows")


def test_the_mistakes_of_all_parts_are_reported_at_once_with_the_part(tmp_path: Path) -> None:
    suite = write(
        tmp_path,
        """
        tasks = ["docstrings/kind"]
        sedes = [0]
        [recipe]
        epochs = -1
        [[part]]
        methods = ["houlsbi"]
        backbones = ["minilm"]
        seeds = [-1]
        [[part]]
        methods = ["ia3", "houlsby:bottleneck=0"]
        backbones = ["nanno"]
        part = []
        [part.recipe]
        max_length = 3
        [part.recipe.ia4]
        epochs = 1
        [part.settings]
        threads = 0
        """,
    )
    messages = errors_of(suite)
    for expected in (
        f"suite {suite}: no key 'sedes'; did you mean 'seeds'?",
        f"suite {suite}: [recipe] epochs must be above 0",
        f"part 1 of suite {suite}: seeds must be whole numbers from 0, got -1",
        f"part 2 of suite {suite}: no key 'part'",
        f"part 2 of suite {suite}: [recipe] max_length belongs in [settings]",
        f"part 2 of suite {suite}: [settings] threads must be at least 1, got 0",
        f"suite {suite}: [recipe.ia4] no method 'ia4'; did you mean 'ia3'?",
        "no method 'houlsbi'; did you mean 'houlsby'?",
        "bottleneck must be at least 1, got 0 in houlsby:bottleneck=0",
        "no backbone 'nanno'; did you mean 'nano'?",
    ):
        assert [text for text in messages if text.startswith(expected)], expected
    assert len(messages) == 10


def test_a_missing_list_is_reported_with_the_number_of_the_part(tmp_path: Path) -> None:
    suite = write(
        tmp_path, 'methods = ["ia3"]\nbackbones = ["tiny"]\n[[part]]\ntasks = ["docstrings/kind"]\n[[part]]\n'
    )
    assert errors_of(suite) == [
        f"part 2 of suite {suite} names no tasks, and the call gives none; add --data FILE, or --task."
    ]


def test_invalid_recipes_are_reported_for_every_part(tmp_path: Path) -> None:
    off = "likelihood_weight = 0\nunlikelihood_weight = 0\n"
    text = TWO.replace("[recipe.ia3]\n", off + "[recipe.ia3]\nlength_normalised_weight = 0\n")
    text = text.replace('"icl:k=4"', '"full"').replace(
        "[part.settings]", "[part.recipe.full]\nlength_normalised_weight = 0\n[part.settings]"
    )
    messages = errors_of(write(tmp_path, text))
    assert [text.split(":")[0] for text in messages] == ["recipe of ia3", "recipe of full"]


@pytest.mark.parametrize("parts", ["part = 3", "part = []", "part = [1]", "[part]\nseeds = [1]"])
def test_parts_that_are_no_array_of_tables_are_reported_with_the_right_form(tmp_path: Path, parts: str) -> None:
    text = f'{parts}\nmethods = ["ia3"]\nbackbones = ["tiny"]\ntasks = ["docstrings/kind"]\n'
    (message,) = errors_of(write(tmp_path, text))
    assert "part must be an array of tables, each [[part]], got " in message


def errors_of(suite: str, overrides: Overrides | None = None) -> list[str]:
    with pytest.raises(UserErrors) as caught:
        expand(suite, overrides)
    return caught.value.messages
