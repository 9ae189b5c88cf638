"""The screen of `tunefront templates`: prompts as lines behind a bar, answers below them."""

from __future__ import annotations

import json
from typing import Any

from rich.text import Text

from tunefront.bench.cli.console import Console, paragraph, print_plain, wrap
from tunefront.bench.errors import printable
from tunefront.bench.templates import PLAIN

_LONGEST_PROMPT, _END = 900, 300
"""Most characters of a prompt that are shown, and how many of them are its end."""
_MOST_ANSWERS, _LONGEST_ANSWER = 8, 200
_BAR = "│ "


def show(content: dict[str, Any], console: Console, backbone: str | None) -> None:  # Any: as `templates.gather`
    """Prints what `templates.gather` found."""
    if content["kind"] == "regression":
        print_plain(console, "\nA regression has no answers to rank, so no template asks for its labels.")
    for template in content["templates"]:
        own = "built in" if template["name"] == PLAIN else (content["file"] or "").rpartition("/")[2]
        notes = [own, *(["used by default"] if template["name"] == content["used"] else [])]
        notes += [] if template["original_task"] else ["asks another task"]
        console.print()
        title = (printable(template["name"], single_line=True), "bold")
        paragraph(console, Text.assemble(title, (f"  {printable('; '.join(notes))}", "dim")))
        for row in template["rows"]:
            _show_row(row, console, backbone)
    for name, why in content["left_out"].items():
        print_plain(console, f"\nleft out: {printable(name, single_line=True)}: {why}", "yellow")


def _show_row(row: dict[str, Any], console: Console, backbone: str | None) -> None:  # Any: as `show`
    tokens, kept = row.get("tokens"), row.get("kept_tokens")
    counted = "" if tokens is None else f", {tokens:,} tokens of {backbone}"
    counted += f" (cut to {kept:,})" if tokens != kept else ""
    print_plain(console, f"  {row['split']} row {row['row']:.40}{counted}", "dim")
    if "error" in row:
        print_plain(console, f"  {row['error']}", "red")
        return
    for line in _shortened(row["prompt"]).split("\n"):
        written = printable(line.expandtabs())
        narrow = wrap(written, console.width - 4) if console.is_terminal else written
        for part in narrow.split("\n"):
            console.print(Text.assemble(("  " + _BAR, "dim"), part), soft_wrap=True)
    right = row["right"]
    numbered = list(enumerate(row["answers"]))
    shown = numbered if len(numbered) <= _MOST_ANSWERS else numbered[: _MOST_ANSWERS - 2]
    for place, answer in [*shown, *([numbered[right]] if right >= len(shown) else [])]:
        text = json.dumps(row["separator"] + answer, ensure_ascii=False)
        mark, style = ("✓", "green") if place == right else (" ", "")
        line = f"  {mark} {text:.{_LONGEST_ANSWER}}"
        print_plain(console, line, style)
    hidden = len(numbered) - len(shown) - (right >= len(shown))
    if hidden:
        print_plain(console, f"    and {hidden:,} more answers", "dim")


def _shortened(prompt: str) -> str:
    """The prompt, or its start and end."""
    if len(prompt) <= _LONGEST_PROMPT:
        return prompt
    left_out = len(prompt) - _LONGEST_PROMPT
    return f"{prompt[: _LONGEST_PROMPT - _END]}\n[{left_out:,} characters]\n{prompt[-_END:]}"
