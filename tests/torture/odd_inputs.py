"""Inputs of the command that are odd in some place: made from valid ones, by chance, from a seed."""

from __future__ import annotations

import contextlib
import json
import random
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from typer.main import get_command

from tests.fuzz import inputs
from tests.reports.compare.test_prices import WHOLE as PRICES
from tests.torture.mutate import JINJA, NUMBERS, bytes_of, json_text, text_of
from tests.torture.world import World
from tunefront.bench.cli.main import app
from tunefront.bench.files import ROOT
from tunefront.bench.models.sites_file import as_toml
from tunefront.methods.sites import SITES

DRAWN = 50
"""Examples that are drawn from a strategy at a time."""
Made = tuple[Mapping[str, bytes], Sequence[str]]
"""The files of an input, by their paths in its folder, and the words of the command."""
ROWS = "".join(json.dumps({"text": f"words {row}", "label": ("neg", "pos")[row % 2]}) + "\n" for row in range(12))
META = {
    "task_type": "classification",
    "label_names": ["neg", "pos"],
    "input_fields": ["text"],
    "label_field": "label",
    "metrics": ["accuracy"],
}
QUICK = "--method features --set steps=1 --set eval_rows=4 --set latency_queries=0 --no-plan"
SLOW = 0.15
"""Share of the inputs of some kinds that are given to a command that takes seconds."""


@dataclass
class Inputs:
    """Makes inputs from what is valid: a tiny world, a results folder with records, predictions and a checkpoint."""

    world: World
    generator: random.Random
    results: Path

    def __post_init__(self) -> None:
        self._drawn: dict[str, list[Any]] = {}
        self.bert, self.gpt2 = self.world.root / "bert", self.world.root / "gpt2"
        self.suite = self.world.suite("few").read_text("utf-8")
        self.records = {path.name: path.read_bytes() for path in sorted(self.results.glob("records/[!.]*.json"))}
        self.plans = {path.name: path.read_bytes() for path in sorted(self.results.glob("plans/[!.]*.json"))}

    def draw(self, name: str, strategy: SearchStrategy[Any]) -> Any:
        """The next example of a strategy."""
        if not self._drawn.get(name):
            self._drawn[name] = _examples(strategy, self.generator.randrange(2**32))
        return self._drawn[name].pop()

    def task(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """A task folder, whole but for these files."""
        rows = {"train.jsonl": ROWS.encode(), "test.jsonl": ROWS.encode()}
        whole = {} if any(name.startswith("train.") for name in files) else rows
        return {f"task/{name}": content for name, content in (whole | dict(files)).items()}

    def options(self) -> Made:
        """Any command with any of its options, of which some have odd texts."""
        name, parameters = self.generator.choice(list(_commands().items()))
        words, good = [name], self._good_values()
        arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
        options = [parameter for parameter in parameters if parameter.param_type_name == "option"]
        for parameter in arguments:
            if self.generator.random() < 0.9:
                words.append(self._value(good.get(parameter.name, ("x",)), 0.2))
        for parameter in self.generator.sample(options, min(len(options), self.generator.randint(0, 5))):
            words.append(self.generator.choice([*parameter.opts, *parameter.secondary_opts]))
            if not parameter.is_flag and self.generator.random() < 0.98:
                words.append(self._value(good.get(parameter.opts[0], NUMBERS), 0.5))
        if name in ("run", "stream", "mix", "ablate", "plan", "pretrain"):
            words += self._small(words)
        elif name == "fetch":
            words += ["--from", "nowhere"]
        files = {"suite.toml": self.suite.encode(), "prices.toml": PRICES.encode(), "sites.toml": _sites().encode()}
        return files | self._stored() | self.task({}), words

    def _good_values(self) -> dict[str, tuple[str, ...]]:
        """Valid texts of arguments, by name, and of options; other options take numbers."""
        return {
            "--method": ("features", "ia3", "houlsby:bottleneck=4", "icl:k=2", "lora:rank=2,alpha=1"),
            "--backbone": (str(self.bert), str(self.gpt2), "t0-11b", "nano"),
            "--task": ("dir:task", "docstrings/kind"),
            "--data": ("task/train.jsonl", "task"),
            "--out": ("out", "results"),
            "--sites": ("sites.toml",),
            "--prices": ("prices.toml",),
            "--set": ("steps=1", "batch_size=4", "learning_rate=1e-3"),
            "--where": ("dtype=float32", "seed=0", "method!=full"),
            "--format": ("csv", "md", "html", "json", "text"),
            "--to": ("tensorboard:events", "safetensors", "merged", "mlflow:http://127.0.0.1:1"),
            "--from": ("nowhere",),
            "results": ("results",),
            "old": ("results",),
            "new": ("results",),
            "data": ("task", "task/train.jsonl", "dir:task"),
            "suite": ("suite.toml", "quick", "own"),
            "checkpoint": tuple(f"results/records/{key}" for key in self.records),
            "file": ("task/train.jsonl",),
            "out": ("out",),
            "model": (str(self.bert), "nano"),
            "what": ("spans", "methods", "size", "suites"),
        }

    def _small(self, words: Sequence[str]) -> list[str]:
        """What makes a valid command quick."""
        small = []
        if "--backbone" not in words:
            small += ["--backbone", str(self.bert)]
        if "--task" not in words and "--data" not in words and words[0] != "pretrain":
            small += ["--task", "dir:task"]
        if "--method" not in words and words[0] != "pretrain":
            small += ["--method", "houlsby:bottleneck=4"]
        if words[0] == "pretrain":
            return [*small, "--set", "steps=1"]
        if words[0] == "plan":
            return small if "--seconds" in words else [*small, "--no-seconds"]
        return [*small, "--set", "steps=1", "--set", "eval_rows=4", "--set", "latency_queries=0", "--seeds", "0"]

    def _value(self, good: Sequence[str], odd: float) -> str:
        if self.generator.random() > odd:
            return self.generator.choice(good)
        if self.generator.random() < 0.4:
            return text_of(self.generator, self.generator.choice(good)).replace("\0", "")
        text: str = self.draw("spelling", inputs.spellings)
        return text.replace("\0", "").encode("utf-8", "ignore").decode()

    def suite_file(self) -> Made:
        """A suite file."""
        if self.generator.random() < 0.5:
            return self._with_suite(self.suite, "plan suite.toml --no-seconds")
        whole = self.generator.choice(_shipped())
        return self._with_suite(whole, "plan suite.toml --no-seconds --backbone {bert} --task dir:task")

    def _with_suite(self, whole: str, command: str) -> Made:
        return {"suite.toml": _encoded(text_of(self.generator, whole))} | self.task({}), self._one_of(command)

    def rows(self) -> Made:
        """A file of rows: CSV or JSON Lines."""
        kind = self.generator.choice(("csv", "jsonl"))
        content = self.draw(kind, inputs.csv_files() if kind == "csv" else inputs.jsonl_files())
        if self.generator.random() < 0.5:
            own = f"rows.{kind}"
            commands = (f"check {own} --no-baseline", f"init {own} --backbone {{bert}}", f"templates {own}")
            return {own: content}, self._one_of(*commands)
        files = self.task({f"train.{kind}": content, f"test.{kind}": content})
        plan = "plan --task dir:task --backbone {bert} --no-seconds"
        run = f"run --task dir:task --backbone {{bert}} {QUICK}"
        return files, self._one_of("check task --no-baseline", plan, "templates task", run)

    def meta(self) -> Made:
        """A meta.json."""
        content = self.draw("meta", inputs.metas) if self.generator.random() < 0.5 else json_text(self.generator, META)
        return self.task({"meta.json": content}), self._one_of("check task --no-baseline")

    def templates(self) -> Made:
        """Prompt templates."""
        text = text_of(self.generator, self.generator.choice(_prompts()), JINJA)
        plan = "plan --task dir:task --method icl:k=2 --backbone {gpt2} --no-seconds"
        return self.task({"templates.yaml": _encoded(text)}), self._one_of("templates task", plan)

    def record(self) -> Made:
        """A record among whole ones."""
        name = self.generator.choice(list(self.records))
        keep = ("key", "schema_version") if self.generator.random() < 0.8 else ()
        content = json_text(self.generator, json.loads(self.records[name]), keep)
        command = self._one_of(
            *("report results --format csv", "report results --format tex", "stale results", "prune results --dry-run"),
            *("diff results results", "diff results results --format json", "push results --to tensorboard:events"),
            f"predict results/records/{name} task/train.jsonl",
            slow=("report results --format html,pdf", "report results --format md"),
        )
        return self._stored(**{name: content}) | self.task({}), command

    def plan(self) -> Made:
        """A stored plan beside the records."""
        name = self.generator.choice(list(self.plans))
        content = json_text(self.generator, json.loads(self.plans[name]), ("key", "schema_version"))
        files = self._stored() | {f"results/plans/{name}": content}
        return files, self._one_of("report results --format csv")

    def sites(self) -> Made:
        """Records of sites."""
        text = text_of(self.generator, _sites(), ("(a+)+$", "(", ".*", "(?P<a>", "\\d{99999}", "[", "(?=a*)*"))
        plan = "plan --sites sites.toml --backbone {bert} --task dir:task --method ia3 --no-seconds"
        command = self._one_of(plan, slow=("probe {bert} --sites sites.toml",))
        return {"sites.toml": _encoded(text)} | self.task({}), command

    def prices(self) -> Made:
        """A file of prices."""
        files = {"prices.toml": _encoded(text_of(self.generator, PRICES))} | self._stored()
        report = "report results --prices prices.toml --format"
        return files, self._one_of(f"{report} csv", slow=(f"{report} md",))

    def checkpoint(self) -> Made:
        """A checkpoint, or what is given as one."""
        path = self.generator.choice(sorted(self.results.glob("checkpoints/*")))
        content, name = path.read_bytes(), path.name
        records = [f"results/records/{key}" for key in self.records]
        given = self.generator.choice((f"results/checkpoints/{name}", *records, "results", name, "checkpoint.bin", "x"))
        if self.generator.random() < 0.7:
            content = bytes_of(self.generator, content)
        if self.generator.random() < 0.2:
            given = self._value((given,), 1.0)
        forms = [f"export GIVEN exported --to {form}" for form in ("merged", "safetensors", "peft", "x")]
        words = self._one_of("predict GIVEN task/train.jsonl", self.generator.choice(forms))
        files = {f"results/checkpoints/{name}": content, "checkpoint.bin": content}
        command = [given if word == "GIVEN" else word for word in words]
        return self._stored() | files | self.task({}), command

    def config(self) -> Made:
        """A model's config.json."""
        source = self.generator.choice((self.bert, self.gpt2))
        whole = json.loads((source / "config.json").read_text("utf-8"))
        if self.generator.random() < 0.5:
            content = self.draw(f"config of {source.name}", inputs.configs(whole))
        else:
            content = json_text(self.generator, whole)
        files = {f"model/{path.name}": path.read_bytes() for path in source.iterdir()} | {"model/config.json": content}
        command = self._one_of(
            "plan --backbone model --task dir:task --method features --no-seconds",
            "plan --backbone model/config.json --length 8 --no-seconds",
            f"run --backbone model --task dir:task {QUICK}",
            slow=("probe model",),
        )
        return files | self.task({}), command

    def model_files(self) -> Made:
        """A model's other files: its tokenizer and its weights."""
        source = self.generator.choice((self.bert, self.gpt2))
        files = {f"model/{path.name}": path.read_bytes() for path in source.iterdir()}
        name = self.generator.choice([name for name in files if not name.endswith("/config.json")])
        if name.endswith(".json") and self.generator.random() < 0.7:
            files[name] = json_text(self.generator, json.loads(files[name]))
        else:
            files[name] = bytes_of(self.generator, files[name])
        return files | self.task({}), self._one_of(f"run --backbone model --task dir:task {QUICK}")

    def _one_of(self, *commands: str, slow: Sequence[str] = ()) -> list[str]:
        """The words of one of the commands; one of those that take seconds comes less often."""
        chosen = self.generator.choice(slow if slow and self.generator.random() < SLOW else commands)
        return shlex.split(chosen.format(bert=shlex.quote(str(self.bert)), gpt2=shlex.quote(str(self.gpt2))))

    def _stored(self, **changed: bytes) -> dict[str, bytes]:
        """A results folder with its records, some of them changed."""
        records = self.records | changed
        files = {f"results/records/{name}": content for name, content in records.items()}
        others = (path for folder in ("predictions", "checkpoints") for path in self.results.glob(f"{folder}/[!.]*"))
        return files | {f"results/{path.relative_to(self.results)}": path.read_bytes() for path in others}


KINDS: dict[str, tuple[int, Callable[[Inputs], Made]]] = {
    "options": (30, Inputs.options),
    "suite": (10, Inputs.suite_file),
    "rows": (12, Inputs.rows),
    "meta.json": (14, Inputs.meta),
    "templates": (10, Inputs.templates),
    "record": (6, Inputs.record),
    "plan": (2, Inputs.plan),
    "sites": (8, Inputs.sites),
    "prices": (6, Inputs.prices),
    "checkpoint": (8, Inputs.checkpoint),
    "config.json": (4, Inputs.config),
    "model files": (3, Inputs.model_files),
}
"""Each kind of input, and how often it is tried among the others."""


def _examples(strategy: SearchStrategy[Any], number: int) -> list[Any]:
    """Examples of a strategy, the same for the same number."""
    examples: list[Any] = []

    @seed(number)
    @settings(
        max_examples=DRAWN,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(example: Any) -> None:
        examples.append(example)

    with contextlib.suppress(Exception):
        keep()
    return examples


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@cache
def _commands() -> dict[str, list[Any]]:
    """The parameters of every command, but of one that fetches."""
    commands = vars(get_command(app))["commands"]
    return {
        name: [each for each in command.params if each.name not in ("help", "debug")]
        for name, command in commands.items()
    }


@cache
def _shipped() -> list[str]:
    return [path.read_text("utf-8") for path in sorted(ROOT.glob("bench/suites/*.toml"))]


@cache
def _prompts() -> list[str]:
    return [path.read_text("utf-8") for path in sorted(ROOT.glob("bench/data/prompts/*.yaml"))]


@cache
def _sites() -> str:
    return as_toml("bert", SITES["bert"])
