"""`tunefront check`: what was read of a file, a folder or a task, and what is odd about it."""

from __future__ import annotations

import json
import shlex

from tunefront.bench.cli import options
from tunefront.bench.cli.console import Console, handle_errors, print_raw, quiet_libraries, warnings_on
from tunefront.bench.data.sources.file_name import OPTIONS as READING
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.suites.overrides import OPTIONS, Texts


@options.add_reading_options
def check(
    data: options.Data,
    texts: Texts,
    backbone: options.CountedBackbone = None,
    linear: options.Linear = True,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Show what is read of DATA and what is odd about it, before anything runs.

    One screen: the rows, what each column is read as and why others are left out, labels with shares and examples,
    lengths against what the backbone reads, what is odd (copies, rows in two splits, columns that give the label away,
    misspelt labels, mixed languages), scores without adaptation, and how many test rows a difference of two points
    takes. Nothing is written. Exit code: 0, also with warnings; 2 if nothing can run.
    """
    errors = Console(stderr=True)
    with handle_errors(errors, debug, stopped="Stopped; nothing was written.", prints=True), warnings_on(errors):
        quiet_libraries()
        from tunefront.bench.check.inspect import inspect
        from tunefront.bench.cli.progress import Display

        wrong = ErrorCollector()
        read = {name: OPTIONS[name].values(texts.get(name), wrong) for name in READING}
        wrong.raise_if_any()
        given = {name: values if OPTIONS[name].is_list else values[0] for name, values in read.items() if values}
        with Display(errors) as display:
            found = inspect(data, given, backbone, linear, display.preparing)
        if as_json:
            print_raw(json.dumps(found.as_json(), indent=1))
            return
        from tunefront.bench.cli.check_screen import show

        show(found, Console(), _next_command(data, given, found.name, backbone))


def _next_command(data: str, given: dict[str, object], name: str, backbone: str | None) -> str:
    """The command that runs methods on what was read."""
    named = name == data or not name.startswith("file:")
    words = ["tunefront", "run", "--task" if named else "--data", data]
    for option, value in given.items():
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{option}", str(each)]
    return shlex.join([*words, *(["--backbone", backbone] if backbone else [])])
