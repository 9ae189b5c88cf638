"""Reads an untrusted templates.yaml: YAML's own tags and PromptSource's two, and four keys."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from tunefront.bench.errors import ErrorCollector, UserError

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 500_000
_EXAMPLE = "templates: {first: !Template {name: ..., jinja: '... ||| ...', answer_choices: 'yes ||| no'}}"


@dataclass(frozen=True)
class Entry:
    """A template as written in the file. answer_choices is None for one that generates text; original_task is True by
    default."""

    name: str
    original_task: bool
    jinja: str
    answer_choices: str | None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader; PromptSource's tags become plain dicts."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuses merge keys: with aliases, they expand a short file to any length."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="a merge key (<<) is not allowed", problem_mark=key.start_mark)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


for _tag in ("!Template", "!TemplateMetadata"):
    _Loader.add_constructor(_tag, _mapping)


@cache
def read_templates(file: Path) -> tuple[Entry, ...]:
    """The file's templates in order. Cached per process: later changes of the file are not seen.

    Errors: UserErrors with all problems of the file.
    """
    content = _content(file)
    templates = content.get("templates") if isinstance(content, dict) else None
    if not isinstance(templates, dict):
        raise UserError(f"{file} has no mapping named templates; write it like this: {_EXAMPLE}")
    wrong, entries = ErrorCollector(), dict[str, Entry]()
    for key, template in templates.items():
        with wrong.collect(f"{file}, template {key!r:.100}: "):
            entry = _entry(template)
            if entry.name in entries:
                raise UserError(f"another template is named {entry.name!r} too; rename one of them.")
            entries[entry.name] = entry
    wrong.raise_if_any()
    return tuple(entries.values())


def _content(file: Path) -> object:
    try:
        with file.open("rb") as raw:
            data = raw.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise UserError(f"{file} has more than {_LARGEST:,} bytes, the limit; split it.")
        return yaml.load(data.decode("utf-8-sig"), _Loader)  # a safe loader, above
    except UserError:  # a ValueError too
        raise
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{file}{line}: not valid YAML for templates ({error.problem}); correct it.") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: not valid YAML for templates ({reason:.200}); correct it.") from error


def _entry(template: object) -> Entry:
    if not isinstance(template, dict):
        raise UserError(f"a template must be a mapping; write it like this: {_EXAMPLE}")
    for key, needed in {"name": True, "jinja": True, "answer_choices": False}.items():
        value = template.get(key)
        if not (isinstance(value, str) and value.strip()) and (needed or value is not None):
            raise UserError(f"{key} must be text, got a value of type {type(value).__name__}; put it in quotes.")
    metadata = template.get("metadata")
    stated = metadata.get("original_task") if isinstance(metadata, dict) else None
    if stated is not None and not isinstance(stated, bool):
        raise UserError(f"metadata.original_task must be true or false, got {stated!r:.100}.")
    original = stated is not False  # by default a template poses the original task
    return Entry(template["name"], original, template["jinja"], template.get("answer_choices"))
