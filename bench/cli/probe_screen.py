"""The screen of `tunefront probe`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from tunefront.bench.cli.console import print_item, print_plain, print_raw
from tunefront.bench.data.reading import count, listed
from tunefront.bench.errors import printable
from tunefront.bench.models.sites_file import as_toml

if TYPE_CHECKING:
    from tunefront.bench.probe.probing import Probe
    from tunefront.bench.probe.trying import Tried

_FAMILIES = {"encoder": "an encoder", "decoder": "a decoder", "seq2seq": "an encoder-decoder"}


def show(found: Probe, console: RichConsole) -> None:
    """Prints a probe."""
    print_plain(console, found.name, "bold")
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="dim")
    facts.add_column(overflow="fold")
    for name, value in _facts(found):
        facts.add_row(name, Text(printable(value, single_line=True)))
    console.print(facts)
    for warning in found.warnings:
        print_item(console, warning, "!", "yellow", "")
    print_plain(console, "")
    print_plain(console, "Methods", "bold")
    if found.proposal is None:
        _methods(console, found.methods, found.params)
        return
    console.print(_both(found))
    _reasons(console, found.methods_then, "Why the others do not, with the record below")
    _proposal(console, found)


def _facts(found: Probe) -> Iterator[tuple[str, str]]:
    recorded = "with a record of sites" if found.sites is not None else "without a record of sites"
    yield "architecture", f"{found.architecture}, {_FAMILIES[found.family]}, {recorded}"
    yield "class", f"{found.model_class} of transformers"
    blocks = "" if found.blocks is None else f", {count(found.blocks, 'block')}"
    yield "size", f"{count(found.params, 'parameter')}{blocks}, width {found.width:,}"
    if found.dtypes is not None:
        types = listed([f"{number:,} {name}" for name, number in found.dtypes.items()])
        yield "weights", f"{found.weight_bytes or 0:,} bytes; tensors: {types}; used in float32"
    room = "no limit" if found.room_tokens is None else f"at most {found.room_tokens:,} tokens"
    yield "reads", f"{room} of {'a text' if found.family == 'encoder' else 'a prompt with its answer'}"
    if found.pooling is not None:
        yield "a head reads", f"{_POOLINGS[found.pooling]}, by {found.pooling_from}"
    spare = "" if found.tokens is None else f", {found.tokens:,} tokens in the tokenizer"
    yield "vocabulary", f"{found.embeddings:,} embeddings{spare}"
    if found.tied is not None:
        yield "output layer", "the embedding (tied)" if found.tied else "separate from the embedding"


_POOLINGS = {
    "pooler": "the checkpoint's own pooler",
    "first": "the state of the first token",
    "mean": "the mean over the states of the tokens",
}


def _methods(console: RichConsole, methods: Sequence[Tried], params: int) -> None:
    table = _table("method", "trained parameters", f"% of {params:,}")
    for tried in methods:
        if tried.runs:
            table.add_row(_text(tried.method), _params(tried), f"{100 * (tried.trained_params or 0) / params:.3g}")
    console.print(table)
    _reasons(console, methods, "Why the others do not run")


def _both(found: Probe) -> Table:
    table = _table("method", "now", "with the record below")
    for now, then in zip(found.methods, found.methods_then, strict=True):
        table.add_row(_text(now.method), _params(now), _params(then))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def _params(tried: Tried) -> Text:
    return Text(f"{tried.trained_params or 0:,}") if tried.runs else Text("–", "dim")


def _reasons(console: RichConsole, methods: Sequence[Tried], title: str) -> None:
    """The reasons, each once, with the methods that have it."""
    grouped: dict[str, list[str]] = {}
    for tried in methods:
        if tried.reason is not None:
            grouped.setdefault(tried.reason, []).append(tried.method)
    if not grouped:
        return
    print_plain(console, "")
    print_plain(console, title, "bold")
    for reason, names in grouped.items():
        print_item(console, f"{listed(names)}: {reason}", "·", "dim")


def _proposal(console: RichConsole, found: Probe) -> None:
    proposal = found.proposal
    assert proposal is not None
    how = "found by running a few tokens" if proposal.tried else "guessed from names; check them"
    print_plain(console, "")
    print_plain(console, f"A record of sites, {how}", "bold")
    if proposal.unknown:
        print_item(console, f"In no site: {listed(list(proposal.unknown))}.")
    print_plain(console, "  Copy it into a file for `tunefront run --sites FILE.toml`:")
    print_plain(console, "")
    print_raw(as_toml(found.architecture, proposal.sites))


def _text(value: str) -> Text:
    return Text(printable(value, single_line=True))
