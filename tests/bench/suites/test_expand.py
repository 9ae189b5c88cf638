"""Suites: the cells that they expand to, and errors for wrong ones."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.world import World
from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, UserError, UserErrors
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.toml import known_suites, read_suite
from tunefront.methods.base import Recipe
from tunefront.methods.houlsby import Houlsby
from tunefront.methods.ia3 import IA3
from tunefront.methods.icl import ICL

pytestmark = pytest.mark.usefixtures("world")

SMALL = 'methods = ["ia3"]\nbackbones = ["tiny"]\ntasks = ["docstrings/kind"]\n'


def write(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def errors_of(suite: str, overrides: Overrides | None = None) -> list[str]:
    with pytest.raises(UserErrors) as caught:
        expand(suite, overrides)
    return caught.value.messages


def planned(name: str, **overrides: Any) -> tuple[Cell, ...]:
    """The cells of a shipped suite, with a backbone and a task if the suite names none."""
    main, *_ = read_suite(name, ErrorCollector()).parts
    given = {
        **({} if main.backbones else {"backbones": ["tiny"]}),
        **({} if main.tasks else {"tasks": ["docstrings/kind"]}),
    }
    return expand(name, Overrides(**(given | overrides))).cells


@pytest.mark.parametrize("name", sorted(known_suites()))
def test_shipped_suites_expand_without_duplicates_and_say_what_they_are(name: str) -> None:
    cells = planned(name)
    assert len(set(cells)) == len(cells) > 10
    assert len(known_suites()[name]) > 20


def test_quick_trains_an_encoder_on_two_real_tasks_with_two_seeds() -> None:
    cells = expand("quick", Overrides(backbones=["minilm"])).cells
    assert {cell.task for cell in cells} == {"sentiment/movies", "news/topic"}
    assert {(cell.shots, cell.config.eval_rows) for cell in cells} == {(200, 300)}
    assert {cell.seed for cell in cells} == {0, 1}
    assert {"full", "features", "houlsby", "ia3"} <= {cell.method.name for cell in cells}


def test_quick_asks_t_few_s_question_of_smollm2() -> None:
    """The same 32 rows are trained on or shown, in two draws, by T-Few's recipe in fewer steps."""
    cells = [cell for cell in expand("quick").cells if cell.backbone == "smollm2"]
    shown = [cell for cell in cells if isinstance(cell.method, ICL)]
    assert {(cell.method.k, cell.draw_seed) for cell in shown if isinstance(cell.method, ICL)} == {
        (0, 0),
        *itertools.product((4, 16, 32), (0, 1)),
    }
    assert {(cell.shots, cell.seed) for cell in cells} == {(32, 0)}
    (paper,) = {cell.recipe for cell in planned("tfew2022") if cell.method.name == "ia3"}
    (ours,) = {cell.recipe for cell in cells if cell.method.name == "ia3"}
    assert replace(paper, steps=ours.steps, learning_rate=ours.learning_rate) == ours


@pytest.mark.parametrize("suite", ["quick", "real"])
def test_rates_are_among_those_that_the_search_tries(suite: str) -> None:
    """For each method and backbone; the search scores none of the suite's tasks with one of its draws and seeds."""
    tried, used = planned("quick_search"), planned(suite)
    rates = {(cell.backbone, cell.method, cell.recipe.learning_rate) for cell in tried}
    assert {(cell.backbone, cell.method, cell.recipe.learning_rate) for cell in used if cell.method.trains} <= rates
    assert not {(cell.task, cell.draw_seed, cell.seed) for cell in tried} & {
        (cell.task, cell.draw_seed, cell.seed) for cell in used
    }


def test_rates_of_own_without_a_search_are_among_those_that_the_search_tries() -> None:
    rates = {(cell.backbone, cell.method.name, cell.recipe.learning_rate) for cell in planned("quick_search")}
    parts = read_suite("own", ErrorCollector()).parts
    used = {
        (part.backbones[0], name, recipe["learning_rate"]) for part in parts for name, recipe in part.recipes.items()
    }
    assert len(used) == 9
    assert used <= rates


def test_a_method_that_uses_no_rows_runs_once_for_all_draws_and_seeds(tmp_path: Path) -> None:
    suite = write(tmp_path, SMALL.replace('"ia3"', '"icl:k=0", "icl:k=1"') + "draws = [3, 4]\nseeds = [5, 6]\n")
    seen = [(cell.method, cell.draw_seed, cell.seed) for cell in expand(suite).cells]
    assert [found for found in seen if found[0] == ICL(k=0)] == [(ICL(k=0), 3, 5)]
    assert len(seen) == 1 + 4


def test_a_method_that_trains_nothing_is_searched_once(tmp_path: Path) -> None:
    suite = write(tmp_path, SMALL.replace('"ia3"', '"ia3", "icl:k=4"') + "[search]\nlearning_rate = [1e-3, 1e-2]\n")
    cells = expand(suite).cells
    assert [cell.method for cell in cells] == [IA3(), IA3(), ICL(k=4)]
    assert ["learning_rate" in cell.title for cell in cells[1:]] == [True, False]


def test_houlsby2019_tries_every_method_with_the_same_settings_and_selects() -> None:
    cells = expand("houlsby2019").cells
    tried: dict[str, set[tuple[float, float]]] = {}
    for cell in cells:
        tried.setdefault(cell.spelled, set()).add((cell.recipe.learning_rate, cell.recipe.epochs))
    assert set(map(frozenset, tried.values())) == {
        frozenset((rate, epochs) for rate in (3e-5, 3e-4, 3e-3) for epochs in (3.0, 20.0))
    }
    assert all(cell.config.select for cell in cells)
    assert {cell.method.bottleneck for cell in cells if isinstance(cell.method, Houlsby)} == {8, 64, 256}
    assert len({cell.seed for cell in cells}) == 5


def test_tfew2022_is_the_recipe_of_the_paper_s_code() -> None:
    cells = planned("tfew2022", tasks=["docstrings/kind", "docstrings/match"])
    assert {(cell.method.name, cell.recipe.learning_rate, cell.recipe.steps) for cell in cells} == {
        ("ia3", 3e-3, 1000),
        ("full", 3e-4, 300),
        ("bitfit", 3e-4, 1000),
        ("layernorm", 3e-4, 1000),
        ("pfeiffer", 3e-3, 500),
        ("compacter", 3e-3, 500),
        ("compacter_pp", 3e-3, 500),
        ("lora", 3e-3, 1000),
        ("scaling", 3e-3, 1000),
        ("fish", 3e-4, 1500),
        ("said", 3e-2, 3000),
        ("prompt_tuning", 3e-1, 1000),
        ("prefix_tuning", 1e-2, 1000),
        ("icl", 5e-5, 1000),
    }
    common = Recipe(
        optimizer="adafactor",
        weight_decay=0.0,
        warmup=0.06,
        schedule="linear",
        clip_norm=1.0,
        batch_size=8,
        dropout=None,
        dtype="float32",
        likelihood_weight=1.0,
        unlikelihood_weight=1.0,
        length_normalised_weight=1.0,
    )
    for cell in cells:
        own = {"learning_rate": cell.recipe.learning_rate, "steps": cell.recipe.steps}
        # A mask's values start at zero; the paper's code scales the rate by the weights that they are added to.
        scaled = cell.method.name not in ("prompt_tuning", "fish")
        assert cell.recipe == replace(common, **own, scale_parameter=scaled)
        assert (cell.shots, cell.seed, cell.config.max_length) == (32, 0, 256)
        assert (cell.config.normalization, cell.config.published_draws, cell.template) == ("token", False, None)
    assert {cell.draw_seed for cell in cells} == {0, 1, 32, 42, 1024}
    assert len(cells) == 2 * 5 * len({cell.spelled for cell in cells})
    (part,) = read_suite("tfew2022", ErrorCollector()).parts
    assert part.templates == ("all",), "none of which an encoder has"


def test_tfew2022_asks_for_a_backbone_and_tasks() -> None:
    assert errors_of("tfew2022") == [
        f"suite tfew2022 names no {what}, and the call gives none; add {options}."
        for what, options in (("backbones", "--backbone"), ("tasks", "--data FILE, or --task"))
    ]
    assert len(errors_of("tfew2022", Overrides(backbones=["tiny"]))) == 1


@pytest.mark.parametrize(
    "item",
    [
        '"houlsby:bottleneck=[8,64],std=[0.01, 0.1]"',
        '"houlsby(bottleneck=[8,64],std=[0.01, 0.1])"',
        '{name = "houlsby", bottleneck = [8, 64], std = [0.01, 0.1]}',
    ],
)
def test_lists_in_a_method_are_swept_in_every_combination(tmp_path: Path, item: str) -> None:
    suite = write(tmp_path, SMALL.replace('"ia3"', item))
    assert [cell.method for cell in expand(suite).cells] == [
        Houlsby(bottleneck, std) for bottleneck in (8, 64) for std in (0.01, 0.1)
    ]


def test_cells_share_a_backbone_and_task_and_every_method_runs_before_the_next_seed(tmp_path: Path) -> None:
    suite = write(
        tmp_path,
        'methods = ["full", "ia3"]\nbackbones = ["tiny", "minilm"]\nseeds = [0, 1]\nshots = [8, "all"]\n'
        'tasks = ["docstrings/kind", "docstrings/match"]\n',
    )
    order = [(c.backbone, c.task, c.shots, c.seed, c.method.name) for c in expand(suite).cells]
    assert order[:4] == [
        ("tiny", "docstrings/kind", 8, 0, "full"),
        ("tiny", "docstrings/kind", 8, 0, "ia3"),
        ("tiny", "docstrings/kind", 8, 1, "full"),
        ("tiny", "docstrings/kind", 8, 1, "ia3"),
    ]
    assert [key for key, _ in zip([o[:2] for o in order], order, strict=True)] == sorted(
        [o[:2] for o in order], key=lambda o: (o[0] != "tiny", o[1] != "docstrings/kind")
    )
    assert order[4][2] is None


def test_cells_that_are_named_twice_run_once(tmp_path: Path) -> None:
    suite = write(tmp_path, SMALL.replace('"ia3"', '"ia3", "ia3", "houlsby", "houlsby:bottleneck=[8,64]"'))
    assert [cell.method for cell in expand(suite).cells] == [IA3(), Houlsby(64), Houlsby(8)]


def test_the_call_overrides_the_methods_table_which_overrides_the_suite_which_overrides_the_method(
    tmp_path: Path,
) -> None:
    suite = write(
        tmp_path,
        SMALL.replace('"ia3"', '"ia3", "full"')
        + "[recipe]\nbatch_size = 4\nepochs = 2\nwarmup = 0.2\n[recipe.ia3]\nepochs = 5\nwarmup = 0.3\n",
    )
    ia3, full = (cell.recipe for cell in expand(suite, Overrides(settings={"warmup": "0.4"})).cells)
    assert (ia3.batch_size, ia3.epochs, ia3.warmup, ia3.learning_rate) == (4, 5, 0.4, 3e-3)
    assert (full.batch_size, full.epochs, full.warmup, full.learning_rate) == (4, 2, 0.4, 5e-5)


def test_a_search_tries_each_combination_for_every_method_and_holds_rows_out(tmp_path: Path) -> None:
    suite = write(tmp_path, SMALL + "[search]\nlearning_rate = [1e-3, 1e-4]\nepochs = [1, 2]\n")
    cells = expand(suite).cells
    assert [(c.recipe.learning_rate, c.recipe.epochs) for c in cells] == [(1e-3, 1), (1e-3, 2), (1e-4, 1), (1e-4, 2)]
    assert all(cell.config.select for cell in cells)


def test_a_draw_that_is_too_small_to_select_on_is_found_before_anything_runs(tmp_path: Path) -> None:
    suite = write(tmp_path, SMALL + 'shots = [8, 80, 16, "all"]\ndraws = [0, 1]\n[search]\nepochs = [1, 2]\n')
    messages = errors_of(suite, Overrides(tasks=["docstrings/kind", "docstrings/match"]))
    assert len(messages) == 4
    for task in ("docstrings/kind", "docstrings/match"):
        for drawn in (8, 16):
            assert any(f"{task} out of training, but only {drawn} were drawn" in text for text in messages)
    assert expand(suite, Overrides(shots=[80, 2000])).cells


def test_a_value_that_the_call_gives_is_not_searched(tmp_path: Path) -> None:
    suite = write(tmp_path, SMALL + "[search]\nlearning_rate = [1e-3, 1e-4]\n")
    (cell,) = expand(suite, Overrides(settings={"learning_rate": "0.5"})).cells
    assert cell.recipe.learning_rate == 0.5
    assert not cell.config.select


def test_fields_that_are_valid_together_only_are_checked_when_all_are_known(tmp_path: Path) -> None:
    """A suite and its table for a method turn losses off; the call turns one of them on again."""
    suite = write(
        tmp_path,
        SMALL + "[recipe]\nlikelihood_weight = 0\nunlikelihood_weight = 0\n"
        "[recipe.ia3]\nlength_normalised_weight = 0\n",
    )
    assert "recipe of ia3: one of likelihood_weight, " in error_text(suite)
    (cell,) = expand(suite, Overrides(settings={"likelihood_weight": "2"})).cells
    assert cell.recipe.likelihood_weight == 2
    assert cell.recipe.unlikelihood_weight == cell.recipe.length_normalised_weight == 0


def test_overrides_replace_the_lists_of_the_suite() -> None:
    (cell,) = expand(
        "quick",
        Overrides(
            methods=["ia3"],
            backbones=["tiny"],
            tasks=["docstrings/kind"],
            shots=[None],
            draws=[3],
            seeds=[7],
            templates=[None],
            settings={"threads": "2"},
        ),
    ).cells
    assert (cell.method, cell.backbone, cell.task, cell.shots) == (IA3(), "tiny", "docstrings/kind", None)
    assert (cell.draw_seed, cell.seed, cell.template, cell.config.threads) == (3, 7, None, 2)


def test_a_template_is_refused_where_only_encoders_would_read_it(tmp_path: Path) -> None:
    expected = "template 'plain' was requested, but {} is an encoder, which takes no template"
    assert expected.format("minilm") in error_text("embedded_search", Overrides(templates=[None, "plain"]))
    assert expected.format("tiny") in error_text(write(tmp_path, 'templates = ["plain"]\n' + SMALL))


def test_paths_in_a_suite_start_at_the_suite_and_those_of_the_call_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner, SMALL.replace("docstrings/kind", "dir:data/x"))
    monkeypatch.chdir(tmp_path)
    assert expand("inner/mine.toml").cells[0].task == "dir:inner/data/x"
    assert expand("inner/mine.toml", Overrides(tasks=["dir:data/x"])).cells[0].task == "dir:data/x"
    monkeypatch.chdir(inner)
    assert expand("./mine.toml").cells[0].task == "dir:data/x"


@pytest.mark.usefixtures("fresh_registry")
def test_a_method_in_a_users_file_is_found_next_to_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
from dataclasses import dataclass
from tunefront import Method
@dataclass(frozen=True)
class Suited(Method):
    name = "suited"
    size: int = 1
    def attach(self, backbone): backbone.freeze(keep=backbone.head)
"""
    (tmp_path / "own").mkdir()
    write(tmp_path / "own", source, "mine.py")
    suite = write(tmp_path, SMALL.replace('"ia3"', '"own/mine.py:Suited:size=[2,3]"') + "[recipe.suited]\nepochs = 9\n")
    cells = expand(suite).cells
    assert [cell.spelled for cell in cells] == ["suited:size=2", "suited:size=3"]
    assert {Path(str(cell.method_file)).name for cell in cells} == {"mine.py"}
    assert {cell.recipe.epochs for cell in cells} == {9}


def test_all_mistakes_of_a_suite_and_of_the_call_are_reported_together(tmp_path: Path) -> None:
    suite = write(
        tmp_path,
        """
        methds = ["ia3"]
        methods = ["houlsbi", "houlsby:bottleneck=0", "houlsby:bottlneck=8", {bottleneck = 8}, 5]
        backbones = "tiny"
        tasks = ["docstrings/kinds"]
        seeds = [0, -1, "x"]
        shots = [0, true]
        [recipe]
        learning_rate = -1
        max_length = 64
        epoch = 3
        [recipe.ia]
        epochs = "many"
        [settings]
        threads = 0
        [search]
        learning_rate = 1e-3
        """,
    )
    messages = errors_of(suite, Overrides(settings={"warmp": 0.1}))
    for expected in (
        "unknown key",
        "no method 'houlsbi'; did you mean 'houlsby'?",
        "bottleneck must be at least 1, got 0 in houlsby:bottleneck=0",
        "has no field 'bottlneck'; did you mean 'bottleneck'?",
        "needs a name",
        "methods contains 5",
        'backbones must be a list, as in backbones = ["tiny"]',
        "no task 'docstrings/kinds'; did you mean 'docstrings/kind'?",
        "seeds must be whole numbers from 0, got -1",
        "got 'x'",
        "got 0",
        "got True",
        "learning_rate must be above 0",
        "max_length belongs in [settings]",
        "no field 'epoch'; did you mean 'epochs'?",
        "[recipe.ia] no method 'ia'; did you mean 'ia3'?",
        "epochs must be float, got 'many'",
        "threads must be at least 1, got 0",
        "[search] learning_rate must be a list",
        "no setting 'warmp'; did you mean 'warmup'?",
    ):
        if expected == "unknown key":
            assert any("no key 'methds'; did you mean 'methods'?" in text for text in messages)
        else:
            assert any(expected in text for text in messages), expected
    assert len(messages) == 20


def test_a_suite_that_is_no_toml_names_the_line(tmp_path: Path) -> None:
    suite = write(tmp_path, "seeds = [0]\ntasks = [,]\n")
    assert "line 2" in error_text(suite)


def error_text(suite: str, overrides: Overrides | None = None) -> str:
    with pytest.raises(UserError) as caught:
        expand(suite, overrides)
    return str(caught.value)


def test_an_unknown_suite_offers_the_nearest_and_the_call_is_checked_all_the_same() -> None:
    messages = errors_of("qick", Overrides(methods=["houlsbi"]))
    assert any("no suite 'qick'; did you mean 'quick'?" in text for text in messages)
    assert any("did you mean 'houlsby'?" in text for text in messages)


def test_a_suite_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    assert "there is no suite file" in error_text("nowhere/mine.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    assert "is not UTF-8" in error_text(str(tmp_path / "latin.toml"))


def test_a_suite_without_methods_says_so(tmp_path: Path) -> None:
    assert "names no methods" in error_text(write(tmp_path, 'backbones = ["tiny"]\ntasks = ["docstrings/kind"]'))


def test_a_sweep_on_the_command_line_is_refused_with_the_right_form() -> None:
    assert "give --method once per value" in error_text("quick", Overrides(methods=["houlsby:bottleneck=[8,64]"]))


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1"])
def test_an_unknown_device_is_a_mistake(device: str) -> None:
    assert "no device" in error_text("quick", Overrides(settings={"device": device}))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("threads", "99999999999", "threads must be at most 1,024, got 99999999999"),
        ("max_length", "9" * 30, "max_length must be at most 1,000,000,000"),
        ("eval_rows", 0, "eval_rows must be at least 1, got 0"),
        ("epochs", "1e308", "epochs must be at most 1,000,000, got 1e+308"),
        ("epochs", "inf", "epochs must be a finite number, got inf"),
        ("epochs", 10**400, "epochs must be float, got 1000"),
        ("weight_decay", "nan", "weight_decay must be a finite number, got nan"),
        ("steps", 10**10, "steps must be at most 1,000,000,000, got 10000000000"),
        ("batch_size", 10**10, "batch_size must be at most 1,000,000,000"),
        ("batch_size", 0, "batch_size must be at least 1, got 0"),
    ],
)
def test_numbers_beyond_all_use_are_mistakes(name: str, value: str | int, says: str) -> None:
    assert says in error_text("quick", Overrides(settings={name: value}))


def test_a_length_without_room_for_a_word_is_reported_per_backbone_with_the_other_mistakes() -> None:
    messages = errors_of("quick", Overrides(backbones=["tiny", "minilm"], settings={"max_length": 2, "epoch": 3}))
    assert "no setting 'epoch'" in messages[0]
    assert messages[1:] == ["tiny: max_length is 2; give at least 3.", "minilm: max_length is 2; give at least 3."]


def test_cuda_that_is_not_there_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "sees no CUDA device" in error_text("quick", Overrides(settings={"device": "cuda"}))


def test_warnings_of_tasks_are_handed_on_once(world: World) -> None:
    world.overlap = ("2 rows are in both train and test",)
    assert expand("quick").warnings == ("2 rows are in both train and test",)


def test_reading_collects_errors_and_leaves_the_wrong_entries_out(tmp_path: Path) -> None:
    wrong = ErrorCollector()
    (part,) = read_suite(write(tmp_path, SMALL + "seeds = [0, -2, 4]\n"), wrong).parts
    assert part.seeds == (0, 4)
    assert len(wrong.messages) == 1


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "x" * 5000])
def test_an_invalid_backbone_name_is_reported_before_any_library_is_imported(name: str) -> None:
    messages = list[str]()
    with pytest.raises(UserError, match=r"cannot be looked up|no home folder"):
        expand("quick", Overrides(backbones=[name]), on_status=messages.append)
    assert messages == []
