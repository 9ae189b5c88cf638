"""lm-evaluation-harness's side: its `hf` model on the same tasks, written as YAML and JSON lines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefront.bench.data.task import Task
from tunefront.bench.templates import find_template
from tunefront.bench.templates.promptsource import PromptSource
from tunefront.bench.templates.sandbox.guard import SEPARATOR

Request = tuple[tuple[str, str], list[int], list[int]]
"""Context and continuation, as texts and as tokens."""


@dataclass(frozen=True)
class Answers:
    """The results of evaluating some rows: the log-likelihoods and tokens of the choices of each row, the predictions,
    and the requests to its model, from which `LmEval.run` computes them again."""

    loglikelihoods: list[list[float]]
    token_ids: list[list[list[int]]]
    predictions: list[int]
    requests: list[Request]

    @property
    def computed(self) -> list[int]:
        """Numbers of tokens of the rows that its model computes. Requests with equal tokens except the last of the
        continuation, as with choices of one token, share a row."""
        return [len(ids) for ids in {(*context, *continuation[:-1]) for _, context, continuation in self.requests}]


class LmEval:
    """Its model on one backbone; writes the tasks to `folder`."""

    def __init__(
        self, backbone: Path, folder: Path, tasks: Sequence[Task], device: str = "cpu", dtype: str = "float32"
    ):
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        for task in tasks:
            _write(task, folder)
        self._tasks = TaskManager(include_path=str(folder), include_defaults=False)
        self.model = HFLM(pretrained=str(backbone), device=device, dtype=dtype, batch_size=1)

    def evaluate(self, task: Task, shots: int, rows: Sequence[int]) -> Answers:
        """Evaluates these test rows, in ascending order, as its command does."""
        from lm_eval import simple_evaluate

        seen: list[Request] = []
        compute = self.model._loglikelihood_tokens

        def recorded(requests: list[Request], **options: Any) -> Any:
            seen.extend(requests)
            return compute(requests, **options)

        self.model._loglikelihood_tokens = recorded
        with redirect_stderr(io.StringIO()):  # not all of its progress bars can be turned off
            results = simple_evaluate(
                model=self.model,
                tasks=[task.name],
                num_fewshot=shots,
                samples={task.name: list(rows)},
                task_manager=self._tasks,
                bootstrap_iters=0,
            )
        del self.model._loglikelihood_tokens
        samples = sorted(results["samples"][task.name], key=lambda sample: int(sample["doc_id"]))
        assert [sample["doc"]["text"] for sample in samples] == [
            task.splits["test"][row].fields["text"] for row in rows
        ]
        values = [[value for value, _ in sample["filtered_resps"]] for sample in samples]
        predictions = [choices.index(max(choices)) for choices in values]
        right = [prediction == sample["target"] for prediction, sample in zip(predictions, samples, strict=True)]
        assert right == [bool(sample["acc"]) for sample in samples], "its accuracy does not match its predictions"
        ids = [[*context, *continuation] for _, context, continuation in seen]
        count = len(task.label_names)
        return Answers(values, [ids[start : start + count] for start in range(0, len(ids), count)], predictions, seen)

    def run(self, answers: Answers, batch_size: int) -> None:
        """Runs its model as in an evaluation, after tokenisation."""
        self.model.batch_size_per_gpu = batch_size
        self.model._loglikelihood_tokens(answers.requests, disable_tqdm=True)


def _write(task: Task, folder: Path) -> None:
    """Writes the rows as JSON lines and the task as YAML (JSON is YAML too)."""
    files = {split: folder / f"{task.name}_{split}.jsonl" for split in task.splits}
    for split, path in files.items():
        rows = [json.dumps({**row.fields, "label": row.label}) for row in task.splits[split]]
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    config = {
        "task": task.name,
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {split: str(path) for split, path in files.items()},
            "cache_dir": str(folder / "datasets"),
        },
        "training_split": "train",
        "fewshot_split": "train",
        "test_split": "test",
        "output_type": "multiple_choice",
        **prompt_of(task),
        "doc_to_target": "label",
        "fewshot_config": {"sampler": "first_n"},
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    folder.joinpath(f"{task.name}.yaml").write_text(json.dumps(config), encoding="utf-8")


def prompt_of(task: Task) -> dict[str, str | list[str]]:
    """What lm_eval renders prompts and answers from: the Jinja sources of the task's own template, or a copy of
    template `plain`."""
    own = find_template(task, None)
    if isinstance(own, PromptSource):
        text, choices = own.jinja.split(SEPARATOR)[0], own.answer_choices.split(SEPARATOR)
        return {
            "doc_to_text": text.strip(),
            "target_delimiter": own.separator,
            "doc_to_choice": [choice.strip() for choice in choices],
        }
    if task.kind == "multiple choice":
        return {"doc_to_text": "Text: {{text}}\nAnswer:", "doc_to_choice": f"{{{{[{', '.join(task.label_names)}]}}}}"}
    return {"doc_to_text": "Text: {{text}}\nLabel:", "doc_to_choice": list(task.label_names)}
