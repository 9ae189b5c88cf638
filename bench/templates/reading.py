"""A templates.yaml that nobody has vouched for: PromptSource's two tags beside YAML's own, and four keys."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from tunefront.bench.errors import Gathered, Mistake

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 500_000
_EXAMPLE = "templates: {first: !Template {name: ..., jinja: '... ||| ...', answer_choices: 'yes ||| no'}}"


@dataclass(frozen=True)
class Entry:
    """A template as it stands in the file; answer_choices is None for one that generates text. original_task is True
    where the file does not say."""

    name: str
    original_task: bool
    jinja: str
    answer_choices: str | None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with PromptSource's tags, which give plain dicts."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuses merge keys: with aliases to merge, a short file stands for one of any length."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="a merge key (<<) is not allowed", problem_mark=key.start_mark)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


for _tag in ("!Template", "!TemplateMetadata"):
    _Loader.add_constructor(_tag, _mapping)


@cache
def read_templates(file: Path) -> tuple[Entry, ...]:
    """The file's templates in order. Read once per process: a file changed later is not seen.

    Errors: Mistakes with everything that is wrong with the file.
    """
    content = _content(file)
    templates = content.get("templates") if isinstance(content, dict) else None
    if not isinstance(templates, dict):
        raise Mistake(f"{file} has no mapping called templates; it is written so: {_EXAMPLE}")
    wrong, entries = Gathered(), dict[str, Entry]()
    for key, template in templates.items():
        with wrong.any(f"{file}, template {key!r:.100}: "):
            entry = _entry(template)
            if entry.name in entries:
                raise Mistake(f"another is called {entry.name!r} too; rename one of them.")
            entries[entry.name] = entry
    wrong.told()
    return tuple(entries.values())


def _content(file: Path) -> object:
    try:
        data = file.read_bytes()
        if len(data) > _LARGEST:
            raise Mistake(f"{file} has {len(data):,} bytes; split it up: at most {_LARGEST:,} are read.")
        return yaml.load(data.decode("utf-8-sig"), _Loader)  # a safe loader, above
    except OSError as error:
        raise Mistake(f"{file} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise Mistake(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Mistake(f"{file}{line}: not valid YAML for templates ({error.problem}); correct it.") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise Mistake(f"{file}: not valid YAML for templates ({reason:.200}); correct it.") from error


def _entry(template: object) -> Entry:
    if not isinstance(template, dict):
        raise Mistake(f"a mapping was expected; it is written so: {_EXAMPLE}")
    for key, needed in {"name": True, "jinja": True, "answer_choices": False}.items():
        value = template.get(key)
        if not (isinstance(value, str) and value.strip()) and (needed or value is not None):
            raise Mistake(f"{key} must be text, a value of type {type(value).__name__} was found; put it in quotes.")
    metadata = template.get("metadata")
    said = metadata.get("original_task") if isinstance(metadata, dict) else None
    if said is not None and not isinstance(said, bool):
        raise Mistake(f"metadata.original_task must be true or false, {said!r:.100} was found.")
    original = said is not False  # where nothing is said, a template asks what its task was made for
    return Entry(template["name"], original, template["jinja"], template.get("answer_choices"))
