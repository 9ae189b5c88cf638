"""lm-evaluation-harness's side: its `hf` model on the same tasks, written as its YAML and JSON lines."""

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

Request = tuple[tuple[str, str], list[int], list[int]]
"""Context and continuation, as texts and as the tokens of each."""


@dataclass(frozen=True)
class Answers:
    """What an evaluation of some rows found: the log-likelihoods and tokens of each row's choices, which it took, and
    what its model was asked, by which `LmEval.run` computes them again."""

    loglikelihoods: list[list[float]]
    token_ids: list[list[list[int]]]
    predictions: list[int]
    requests: list[Request]

    @property
    def computed(self) -> list[int]:
        """Tokens of the rows that its model computes: where contexts with all but the last token of their continuations
        are equal, as with choices of one token, there is one for all."""
        return [len(ids) for ids in {(*context, *continuation[:-1]) for _, context, continuation in self.requests}]


class LmEval:
    """Its model on one backbone; `folder` is where the tasks are written."""

    def __init__(self, backbone: Path, folder: Path, tasks: Sequence[Task]):
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        for task in tasks:
            _write(task, folder)
        self._tasks = TaskManager(include_path=str(folder), include_defaults=False)
        self.model = HFLM(pretrained=str(backbone), device="cpu", dtype="float32", batch_size=1)

    def evaluate(self, task: Task, shots: int, rows: Sequence[int]) -> Answers:
        """Evaluates these test rows, given in rising order, as its command does."""
        from lm_eval import simple_evaluate

        asked: list[Request] = []
        compute = self.model._loglikelihood_tokens

        def noted(requests: list[Request], **options: Any) -> Any:
            asked.extend(requests)
            return compute(requests, **options)

        self.model._loglikelihood_tokens = noted
        with redirect_stderr(io.StringIO()):  # its progress bars cannot all be turned off
            found = simple_evaluate(
                model=self.model,
                tasks=[task.name],
                num_fewshot=shots,
                samples={task.name: list(rows)},
                task_manager=self._tasks,
                bootstrap_iters=0,
            )
        del self.model._loglikelihood_tokens
        samples = sorted(found["samples"][task.name], key=lambda sample: int(sample["doc_id"]))
        assert [sample["doc"]["text"] for sample in samples] == [
            task.splits["test"][row].fields["text"] for row in rows
        ]
        values = [[value for value, _ in sample["filtered_resps"]] for sample in samples]
        predictions = [of_one.index(max(of_one)) for of_one in values]
        right = [prediction == sample["target"] for prediction, sample in zip(predictions, samples, strict=True)]
        assert right == [bool(sample["acc"]) for sample in samples], "its accuracy is of other predictions"
        ids = [[*context, *continuation] for _, context, continuation in asked]
        count = len(task.label_names)
        return Answers(values, [ids[at : at + count] for at in range(0, len(ids), count)], predictions, asked)

    def run(self, answers: Answers, batch_size: int) -> None:
        """What its model does in an evaluation once texts are tokens."""
        self.model.batch_size_per_gpu = batch_size
        self.model._loglikelihood_tokens(answers.requests, disable_tqdm=True)


def _write(task: Task, folder: Path) -> None:
    """The rows as JSON lines, and the task as YAML, which JSON is, too; the prompt is that of the template `plain`."""
    files = {split: folder / f"{task.name}_{split}.jsonl" for split in task.splits}
    for split, path in files.items():
        rows = [json.dumps({**row.fields, "label": row.label}) for row in task.splits[split]]
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    named = task.kind == "multiple choice"
    told = {
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
        "doc_to_text": f"Text: {{{{text}}}}\n{'Answer' if named else 'Label'}:",
        "doc_to_choice": f"{{{{[{', '.join(task.label_names)}]}}}}" if named else list(task.label_names),
        "doc_to_target": "label",
        "fewshot_config": {"sampler": "first_n"},
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    folder.joinpath(f"{task.name}.yaml").write_text(json.dumps(told), encoding="utf-8")
