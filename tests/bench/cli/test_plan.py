"""`tunefront plan`: its output, saved plans, and errors for mistakes in the call."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tunefront.bench.records import Record, load_plans, load_records

SMALL = ("--set", "batch_size=4", "--set", "steps=2", "--set", "eval_batch_size=4", "--no-seconds")
SUITE = """
methods = ["ia3", "full", "icl"]
backbones = [{backbone}]
tasks = [{task}]
shots = [8]
seeds = [0, 1]
[recipe]
steps = 2
batch_size = 4
"""


@pytest.fixture
def config(backbones: dict[str, str]) -> str:
    """A tiny BERT's configuration, which takes 80 tokens."""
    return str(Path(backbones["bert"]) / "config.json")


@pytest.fixture
def made_up(call: Any, config: str) -> Any:
    """Plans a few short synthetic rows on it; later options replace earlier ones."""

    def run(*arguments: str, backbone: str = config, method: str = "ia3") -> Any:
        sizes = ("--length", "16", "--shots", "6", "--queries", "5")
        kept = [
            argument
            for name, size in zip(sizes[::2], sizes[1::2], strict=True)
            for argument in (name, size)
            if name not in arguments
        ]
        return call("plan", "--backbone", backbone, "--method", method, *kept, *SMALL, *arguments)

    return run


@pytest.fixture
def suite(tmp_path: Path, backbones: dict[str, str], toy_folder: str) -> str:
    path = tmp_path / "mine.toml"
    text = SUITE.format(backbone=json.dumps(backbones["bert"]), task=json.dumps(toy_folder))
    path.write_text(text, encoding="utf-8")
    return str(path)


def assert_error(result: Any, message: str) -> None:
    """Exit 2, one paragraph, and nothing on standard output."""
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert "a bug in tunefront" not in result.output
    assert "\n" not in result.stderr[result.stderr.index("error: ") :].strip()
    assert result.stdout == ""


def test_a_suite_is_planned_once_per_method_and_skipped_methods_are_named(call: Any, suite: str) -> None:
    result = call("plan", suite, "--no-seconds", "--method", "full", "--method", "icl")
    assert result.exit_code == 0, result.output
    rows = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    assert rows.count("full") >= 2  # in the tables of costs and of memory, once for both seeds
    assert "skipped: icl on " in result.stdout
    assert "in-context learning needs a language model" in result.stdout
    assert "Memory at the peak by owner" in result.stdout


def test_a_plan_says_what_was_not_fetched(call: Any, suite: str) -> None:
    path = Path(suite)
    path.write_text(path.read_text("utf-8").replace("tasks = [", 'tasks = ["sentiment/movies", '), encoding="utf-8")
    result = call("plan", suite, "--no-seconds", "--method", "full")
    assert result.exit_code == 0, result.output
    assert "sentiment/movies" in result.stderr
    assert "tunefront fetch sentiment" in result.stderr
    assert "sentiment/movies" not in result.stdout


def test_made_up_rows_are_planned_as_json(made_up: Any) -> None:
    result = made_up("--json", "--method", "full", "--choices", "3", "--answer-length", "2")
    assert result.exit_code == 0, result.output
    found = [Record(**fields) for fields in json.loads(result.stdout)["records"]]
    assert [(one.label, one.status) for one in found] == [("ia3", "planned"), ("full", "planned")]
    assert {one.task for one in found} == {"synthetic rows of 16 tokens, 3 choices of 2"}
    assert {(one.data.n_train, one.data.n_test, one.training.steps) for one in found} == {(6, 5, 2)}
    assert all(one.seconds.train is None and one.scores.test is None for one in found)


def test_seconds_are_predicted_unless_they_are_not_wanted(call: Any, config: str) -> None:
    sizes = ("--length", "16", "--shots", "6", "--queries", "5", "--set", "steps=2", "--set", "batch_size=4")
    result = call("plan", "--backbone", config, "--method", "ia3", *sizes)
    assert result.exit_code == 0, result.output
    assert "rows / s" in result.stdout
    assert "Seconds are of this machine" in result.stdout


def test_a_sweep_has_a_row_per_size_and_names_skipped_methods(
    call: Any, language_models: dict[str, str], config: str
) -> None:
    gpt2 = str(Path(language_models["gpt2"]) / "config.json")
    names = ("--backbone", config, "--backbone", gpt2, "--method", "full", "--method", "icl")
    sizes = ("--length", "16", "--shots", "4", "--queries", "4", "--sweep", "length=16,70")
    result = call("plan", *names, *sizes, *SMALL)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("Peak memory over length: ") == 2
    assert f"skipped: icl on {gpt2}, length 70: 4 demonstrations and a query of 70 tokens" in result.stdout
    assert f"skipped: icl on {config}: in-context learning" in result.stdout
    _, of_encoder, of_decoder = result.stdout.split("Peak memory over length: ")
    rows = [line.split() for line in of_decoder.splitlines() if line.startswith(("16 ", "70 ", " 16 ", " 70 "))]
    assert [row[0] for row in rows] == ["16", "70"]
    assert rows[1][-1] == "—"
    assert "icl" not in of_encoder


def test_json_has_the_plans_of_a_sweep_too(made_up: Any) -> None:
    printed = json.loads(made_up("--json", "--sweep", "batch=4,8").stdout)
    sweep = {size: [Record(**fields) for fields in records] for size, records in printed["sweep"].items()}
    assert {
        size: [record.recipe["batch_size"] for record in records if record.recipe] for size, records in sweep.items()
    } == {
        "4": [4],
        "8": [8],
    }


def test_json_says_what_fits(made_up: Any) -> None:
    printed = json.loads(made_up("--json", "--device-memory", "200kB").stdout)
    (record,) = printed["records"]
    fits = printed["fits"][record["key"]]
    assert not fits["fits"]
    assert 1 <= fits["largest_batch"] < record["recipe"]["batch_size"]


def test_what_fits_into_a_device_is_said(made_up: Any) -> None:
    result = made_up("--device-memory", "200kB")
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "largest" in words
    assert " no " in words


def test_assumptions_and_fits_come_before_costs(made_up: Any) -> None:
    """Seconds are predicted for another device only on request."""
    result = made_up("--device-memory", "200kB")
    words = " ".join(result.stdout.split())
    order = (
        "Assumed: synthetic rows of 16 tokens",
        "float32",
        "adamw",
        "No seconds",
        "Fits into 200 kB?",
        "does not fit",
    )
    places = [words.index(part) for part in (*order, "Trained parameters and bytes are exact")]
    assert places == sorted(places)
    assert re.search(r"ia3 does not fit with batch_size=\d+ as planned, but fits with --set batch_size=\d+", words)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_seconds_with_a_devices_memory_are_those_of_this_machine(call: Any, config: str) -> None:
    sizes = ("--length", "16", "--shots", "6", "--queries", "5", "--set", "steps=2", "--set", "batch_size=4")
    arguments = ("plan", "--backbone", config, "--method", "ia3", *sizes, "--device-memory", "1GB")
    without, timed = call(*arguments), call(*arguments, "--seconds")
    assert "rows / s" not in without.stdout
    assert "rows / s" in timed.stdout
    assert "Seconds are valid for this machine's CPU" in " ".join(timed.stdout.split())
    assert " yes " in without.stdout
    assert "does not fit" not in without.stdout


def test_a_plan_is_saved_and_the_report_compares_it_with_the_run(call: Any, suite: str, tmp_path: Path) -> None:
    result = call("plan", suite, "--no-seconds", "--method", "ia3", "--out", "results")
    assert result.exit_code == 0, result.output
    assert "plan: results/plans" in result.stdout
    assert [record.label for record in load_plans(tmp_path / "results")] == ["ia3"]
    assert call("run", suite, "--method", "ia3", "--workers", "1", "--seeds", "0").exit_code == 0
    assert call("report", "results", "--format", "md").exit_code == 0
    text = "".join(path.read_text("utf-8") for path in (tmp_path / "results").rglob("*.md"))
    assert "Predicted and measured" in text


def test_a_run_may_plan_itself_first(call: Any, suite: str, tmp_path: Path) -> None:
    result = call("run", suite, "--method", "ia3", "--workers", "1", "--seeds", "0", "--plan")
    assert result.exit_code == 0, result.output
    (planned,), (measured,) = load_plans(tmp_path / "results"), load_records(tmp_path / "results")
    assert planned.key == measured.key
    assert planned.flops.train == measured.flops.train
    assert planned.seconds.train is not None
    assert "Predicted and measured" in (tmp_path / "results/report/report.html").read_text("utf-8")


def test_a_papers_tables_fit_a_narrow_terminal(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = call("plan", "--paper", "houlsby2019")
    assert result.exit_code == 0, result.output
    assert "…" not in result.stdout
    assert "(1) As printed." in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines()[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--paper", "tfew2020"), "no paper 'tfew2020'; did you mean 'tfew2022'?"),
        (("--paper", "tfew2020", "--json"), "no paper 'tfew2020'; did you mean 'tfew2022'?"),
        (("quick", "--paper", "tfew2022"), "--paper cannot be combined with SUITE"),
        (("--paper", "tfew2022", "--workers", "1"), "--paper cannot be combined with --workers"),
    ],
)
def test_a_wrong_option_with_a_paper_is_reported(arguments: tuple[str, ...], message: str, call: Any) -> None:
    assert_error(call("plan", *arguments), message)


def test_a_papers_tables_are_given_as_json(call: Any) -> None:
    result = call("plan", "--paper", "houlsby2019", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert "Houlsby" in printed["paper"]
    assert printed["tables"]
    for table in printed["tables"]:
        assert table.keys() == {"title", "columns", "rows", "notes"}
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("bert-bas", "no preset 'bert-bas'; did you mean 'bert-base'?"),
        ("long" * 100 + ".json", "long ...' is not a valid path (File name too long)"),
        ("~nobody-of-this-name/config.json", "is not a valid path (Could not determine home directory"),
        ("there/is/no/config.json", "there is no file there/is/no/config.json; give the path of a config.json"),
    ],
)
def test_an_unknown_preset_or_file_is_reported(backbone: str, message: str, made_up: Any) -> None:
    assert_error(made_up(backbone=backbone), message)


def test_an_unknown_preset_without_a_length_is_told_too(call: Any) -> None:
    told = "nearest preset is 'bert-base'"
    assert_error(call("plan", "--backbone", "bert-bas", "--no-seconds"), told)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"hidden_size": 32}', "names no model_type"),
        ('{"model_type": "bert", "hidden_size": 30, "num_attention_heads": 4}', "the width, 30, is not a multiple of"),
        ('{"model_type": "bert", "num_hidden_layers": -2}', "num_hidden_layers is -2, and must be a whole number"),
    ],
)
def test_a_configuration_that_makes_no_model_is_reported(
    content: str, message: str, made_up: Any, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")
    assert_error(made_up(backbone=str(path)), message)


def test_an_architecture_without_a_record_is_planned_where_no_site_is_needed(made_up: Any, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 99,
    }
    path.write_text(json.dumps({"model_type": "ernie", **sizes}), encoding="utf-8")
    result = made_up("--method", "full", backbone=str(path))
    assert result.exit_code == 0, result.output
    assert "full" in result.stdout
    assert "no record of sites" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--length", "500"), "rows of 500 tokens do not fit into"),
        (("--length", "3"), "synthetic rows: --length must be at least 8, got 3."),
        (("--length", "2000000"), "--length must be at most 1,000,000, got 2000000."),
        (("--choices", "1"), "--choices must be at least 2, got 1."),
        (("--answer-length", "0"), "--answer-length must be at least 1, got 0."),
        (("--queries", "0"), "--queries must be at least 1, got 0."),
        (("--shots", "0"), "shots must be whole numbers from 1, or 'all', got '0'."),
        (("--shots", "all"), "number for --shots, got all."),
        (("--shots", "8,16"), "number for --shots, got 8, 16."),
        (("--shots", "²"), "shots must be whole numbers from 1, or 'all', got '²'."),
        (("--set", "dropout=-1"), "dropout must be at least 0 and below 1, got -1.0."),
        (("--set", "epochs=-1"), "epochs must be above 0, got -1.0."),
        (("--set", "stps=3"), "no setting 'stps'; did you mean 'steps'?"),
        (("--set", "max_length=8"), "max_length has no effect on synthetic rows"),
        (("--set", "device=tpu"), "there is no device 'tpu'"),
        (("--sweep", "batch=-1"), "got '-1'"),
        (("--sweep", "foo=1"), "--sweep takes batch=... or length=..., got 'foo=1'"),
        (("--sweep", "length=3,16"), "synthetic rows: --sweep length must be at least 8, got 3."),
        (("--sweep", "length=16,500"), "80 positions; give smaller sizes to --sweep length or a model"),
        (("--sweep", "length=16,500", "--method", "full"), "; give smaller sizes to --sweep length or a model"),
        (("--length", "500", "--sweep", "length=16,500"), "; give a smaller --length or a model"),
        (("--device-memory", "24"), "add a unit, for example 24GB."),
        (("--device-memory", "0"), "'0' is not an amount of memory"),
        (("--device-memory", "banana"), "'banana' is not an amount of memory"),
        (("--device-memory", "1kB"), "nothing fits into 1,000 bytes"),
        (("--method", "ia4"), "no method 'ia4'; did you mean 'ia3'?"),
        (("--task", "dir:toy"), "--task cannot be combined"),
        (("--template", "plain"), "--template cannot be combined"),
        (("--seeds", "1"), "--seeds cannot be combined"),
        (("--draws", "1"), "--draws cannot be combined"),
        (("--device", "tpu"), "there is no device 'tpu'"),
        (("quick",), "SUITE cannot be combined"),
        (
            ("--paper", "tfew2022"),
            "--method, --backbone, --shots, --set, --length, --queries, --no-seconds, --out",
        ),
    ],
)
def test_a_mistake_is_reported_and_nothing_is_kept(
    arguments: tuple[str, ...], message: str, made_up: Any, tmp_path: Path
) -> None:
    assert_error(made_up(*arguments, "--out", "results"), message)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sweep", "length=16"), "--sweep length=... needs synthetic rows"),
        (("--choices", "3"), "--choices only applies to synthetic rows"),
        (("--answer-length", "3"), "--answer-length only applies to synthetic rows"),
        (("--queries", "3"), "--queries only applies to synthetic rows"),
        (("--backbone", "bert-base"), "SUITE cannot be combined"),
        (("--method", "ia4"), "no method 'ia4'; did you mean 'ia3'?"),
    ],
)
def test_a_wrong_option_with_a_suite_is_reported(
    arguments: tuple[str, ...], message: str, call: Any, suite: str
) -> None:
    assert_error(call("plan", suite, "--no-seconds", *arguments), message)


def test_made_up_rows_need_a_backbone(call: Any) -> None:
    assert_error(call("plan", "--length", "16"), "--length needs a --backbone")


@pytest.mark.parametrize(("out", "told"), [("mine/x", "mine/x (Not a directory)"), ("nosuch://x", "nosuch://x")])
def test_a_folder_that_cannot_be_written_is_told_before_planning(
    out: str, told: str, made_up: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("a file", encoding="utf-8")
    assert_error(made_up("--out", out), told)


@pytest.mark.parametrize("more", [(), ("--json",), ("--sweep", "batch=4,8")])
def test_nothing_to_plan_is_reported_with_the_reasons(more: tuple[str, ...], made_up: Any) -> None:
    result = made_up("--method", "icl:k=2", *more, method="icl:k=4")
    assert_error(result, "no cell can be planned: icl:k=4 on ")
    assert "in-context learning needs a language model" in result.stderr


def test_a_method_that_is_named_twice_is_planned_once(made_up: Any) -> None:
    result = made_up("--json", "--method", "ia3:start=none", "--method", "full")
    assert [record["label"] for record in json.loads(result.stdout)["records"]] == ["ia3", "full"]


def test_two_mistakes_are_reported_together(made_up: Any) -> None:
    for setting in ("stps=3", "steps"):
        result = made_up("--method", "ia4", "--set", setting)
        assert result.exit_code == 2
        assert "2 errors:" in result.stderr


def test_bytes_of_made_up_demonstrations_are_missing(call: Any, language_models: dict[str, str]) -> None:
    gpt2 = str(Path(language_models["gpt2"]) / "config.json")
    sizes = ("--length", "16", "--shots", "4", "--queries", "4")
    result = call("plan", "--backbone", gpt2, "--method", "icl", *sizes, *SMALL)
    assert result.exit_code == 0, result.output
    row = next(line.split() for line in result.stdout.splitlines() if line.split()[:1] == ["icl"])
    assert row[:5] == ["icl", "0", "0", "%", "—"]


OWN = """
from dataclasses import dataclass
import os, sys, torch
from tunefront import Method
from tunefront.methods.features import Features

@dataclass(frozen=True)
class Mine(BASE):
    name = "mine_to_plan_NUMBER"
    BODY
"""
WRONG = {
    "attach without its argument": ("Method", "def attach(self): pass", "attach()"),
    "keeps what is not there": ("Method", "def attach(self, b): b.freeze(keep='nosuch.*')", "nosuch"),
    "nothing to train": ("Method", "def attach(self, b): b.freeze()", "nothing to train"),
    "no scorer": ("Features", "def fit(self, a, b, c): return None", "NoneType"),
    "fit without arguments": ("Features", "def fit(self): return None", "fit()"),
    "scores are text": ("Features", "def fit(self, a, b, c): return lambda batch: 'hello'", "str"),
    "scores of one dimension": ("Features", "def fit(self, a, b, c): return lambda batch: torch.zeros(3)", "shape"),
    "exits": ("Features", "def fit(self, a, b, c): sys.exit(0)", "SystemExit"),
    "ends its process": ("Features", "def fit(self, a, b, c): os._exit(0)", "died"),
}


numbers = itertools.count()


def mine(folder: Path, base: str, body: str) -> str:
    path = folder / "mine.py"
    text = OWN.replace("NUMBER", str(next(numbers))).replace("BASE", base).replace("BODY", body)
    path.write_text(text, encoding="utf-8")
    return f"{path}:Mine"


@pytest.mark.parametrize("wrong", WRONG)
def test_a_broken_own_method_is_skipped_with_the_reason(wrong: str, call: Any, suite: str, tmp_path: Path) -> None:
    base, body, message = WRONG[wrong]
    spelled = mine(tmp_path, base, body)
    assert_error(call("plan", suite, "--no-seconds", "--method", spelled), message)


def test_other_methods_are_planned_next_to_a_broken_own_method(call: Any, suite: str, tmp_path: Path) -> None:
    spelled = mine(tmp_path, *WRONG["no scorer"][:2])
    result = call("plan", suite, "--no-seconds", "--method", spelled, "--method", "full")
    assert result.exit_code == 0, result.output
    assert "skipped: mine_to_plan" in result.stdout
    assert "NoneType" in result.stdout
    run = call("run", suite, "--plan", "--method", spelled, "--method", "full", "--seeds", "0", "--workers", "1")
    assert run.exit_code == 1, run.output
    assert sorted(record.status for record in load_records("results")) == ["failed", "ok"]
    assert [record.label for record in load_plans("results")] == ["full"]


def test_a_patch_by_a_users_method_changes_no_other_plan(call: Any, suite: str, tmp_path: Path) -> None:
    def planned(*spelled: str) -> dict[str, Any]:
        methods = [part for method in spelled for part in ("--method", method)]
        result = call("plan", suite, "--no-seconds", "--device-memory", "1GB", "--json", *methods)
        assert result.exit_code == 0, result.output
        records = json.loads(result.stdout)["records"]
        return {record["label"]: (record["memory"], record["parameters"]) for record in records}

    patch = (
        "def attach(self, b): torch.nn.Linear.forward = lambda s, x: 2 * x @ s.weight.T + 0 * x.sum(); b.freeze('.*')"
    )
    spelled = mine(tmp_path, "Method", patch)
    alone, together = planned("full", "ia3"), planned(spelled, "full", "ia3")
    assert {label: together[label] for label in alone} == alone
    assert len(together) == 3


def test_a_class_whose_name_cannot_be_read_is_reported(call: Any, suite: str, tmp_path: Path) -> None:
    import sys

    path = tmp_path / "meta.py"
    path.write_text(
        "from tunefront import Method\nfrom tunefront.methods.features import Features\n"
        "class Meta(type(Method)):\n"
        "    def __getattribute__(cls, name):\n"
        "        if name == 'name' and not answers: raise RuntimeError('not today')\n"
        "        return super().__getattribute__(name)\n"
        "answers = []\n"
        "class Mine(Features, metaclass=Meta):\n    name = 'mine_of_a_metaclass'\n",
        encoding="utf-8",
    )
    try:
        result = call("plan", suite, "--no-seconds", "--method", f"{path}:Mine")
        assert (result.exit_code, "not today" in result.stderr) == (2, True), result.output
    finally:
        for module in [module for name, module in sys.modules.items() if name.startswith("_tunefront_meta")]:
            module.answers.append(True)  # type: ignore[attr-defined]
