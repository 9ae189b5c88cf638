"""The cost tables of a paper as they are printed: figures, differences and what explains them."""

from __future__ import annotations

from collections.abc import Sequence

from tunefront.bench.papers.tables.costs import BINARY, UNITS, Data, Disk, Line, Work, lines
from tunefront.bench.papers.tables.table import PaperTable, prints_as


def cost_tables(data: Data) -> tuple[PaperTable, ...]:
    """A query, all of training, and what is kept for a task."""
    found = lines(data)
    return _inference(data, found), _training(data, found), _disk(data, found)


def why(work: Work) -> str:
    """What explains that the rule gives what is printed, or something else."""
    if work.agrees:
        return "as printed" if work.rule else "nothing is trained"
    told = f"the rule gives {_flops(work.rule)}"
    if work.without_query is not None and prints_as(work.without_query, work.printed):
        return f"{told}; without the query's own tokens {_flops(work.without_query)}, as printed"
    return f"{told}; not explained"


def why_disk(disk: Disk) -> str:
    """The same of bytes: which file, in which unit, is what is printed."""
    if disk.agrees:
        return "as printed" if disk.numbers else "nothing is kept"
    value, unit = disk.printed.split()
    for size, what in (
        (disk.numbers, "the numbers"),
        (disk.torch, f"a torch.save() file, {disk.torch:,} B,"),
        (disk.safetensors, f"a safetensors file, {disk.safetensors:,} B,"),
    ):
        for units, name in ((BINARY, f"{BINARY[unit]:,} B"), (UNITS, unit)):
            if prints_as(size / units[unit], value):
                return (
                    f"the numbers are {disk.numbers / 10**6:.1f} MB, or {disk.numbers / BINARY[unit]:.1f} units of "
                    f"{BINARY[unit]:,} B; {what} is as printed in units of {name}, so "
                    "perhaps that was measured"
                )
    return "not explained"


def _inference(data: Data, found: Sequence[Line]) -> PaperTable:
    works = [line.inference for line in found]
    rows = [
        (
            *_by_rule(work),
            _flops(work.analytic.forward),
            _off(work.analytic.forward, work.rule),
            "" if work.kept is None else _flops(work.kept.forward),
            why(work),
        )
        for work in works
    ]
    shares = [work.analytic.parts.get("attention", 0) / work.analytic.forward for work in works]
    read = data["demonstrations"] * data["demonstration_tokens"]
    return PaperTable(
        "FLOPs of one query",
        ("", "printed", "by its rule", "off", "counted", "off the rule", "prefix kept", "why"),
        tuple(rows),
        (
            f"The rule: N a token for an encoder-decoder, 2N for a decoder, N as the models are named; "
            f"{data['query_tokens']} tokens of a query with its choices, after {data['demonstrations']} demonstrations "
            f"of {data['demonstration_tokens']} = {read:,} tokens in context. Counted: matrix products and attention "
            f"in closed form, {data['choices']} choices of {data['choice_tokens']} tokens (ours; the paper does not "
            "say), demonstrations read anew for every query as in the paper; kept, where their keys and values are "
            "reused, as this suite does with decoders.",
            f"The rule leaves out attention's quadratic term, {min(shares):.1%} to {max(shares):.1%} of the count; it "
            "counts embeddings, which are looked up, as products, and the output layer at every token, where it is "
            "computed for the choices' alone.",
            *_beyond(works, read + data["query_tokens"]),
        ),
    )


def _beyond(works: Sequence[Work], tokens: int) -> list[str]:
    """Which models take fewer tokens than the paper counts."""
    short: dict[int, list[str]] = {}
    for work in works:
        if work.lacking:
            short.setdefault(work.lacking, []).append(repr(work.name))
    return [
        f"{', '.join(names)}: the model takes {positions:,} positions, where the paper counts {tokens:,} tokens; ours "
        "are counted as if it took them all."
        for positions, names in short.items()
    ]


def _training(data: Data, found: Sequence[Line]) -> PaperTable:
    works = [line.training for line in found]
    rows = [
        (
            *_by_rule(work),
            _flops(work.analytic.forward),
            _flops(work.analytic.backward),
            _off(work.analytic.forward + work.analytic.backward, work.rule),
            why(work),
        )
        for work in works
    ]
    notes = [
        f"{data['steps']:,} steps of {data['batch']} rows of {data['query_tokens']} tokens. The rule: three times the "
        "forward pass. Counted, as above: every choice has a row of its own in the decoder while training."
    ]
    dearest = max((line.inference for line in found), key=lambda work: work.rule)
    for work in works:
        if not work.rule:
            continue
        counted = work.analytic.forward + work.analytic.backward
        notes.append(
            f"{work.name}: the backward pass is {work.analytic.backward / work.analytic.forward:.2f} times the "
            "forward pass, not twice, since frozen weights need no gradients of their own."
        )
        in_queries = [
            f"{float(work.printed) / float(dearest.printed):.0f} as printed",
            f"{work.rule / dearest.rule:.0f} by the rule",
            f"{counted / dearest.analytic.forward:.0f} counted",
        ]
        if dearest.kept is not None:
            in_queries.append(f"{counted / dearest.kept.forward:,.0f} with demonstrations kept")
        notes.append(f"So many queries of {dearest.name!r} cost as much as training: {', '.join(in_queries)}.")
    return PaperTable(
        "FLOPs of training on a task",
        ("", "printed", "by its rule", "off", "counted forward", "backward", "off the rule", "why"),
        tuple(rows),
        tuple(notes),
    )


def _disk(data: Data, found: Sequence[Line]) -> PaperTable:
    rows = [
        (
            disk.name,
            disk.printed,
            f"{disk.numbers:,} B",
            f"{disk.safetensors:,} B" if disk.safetensors else "",
            why_disk(disk),
        )
        for disk in (line.disk for line in found)
    ]
    return PaperTable(
        "Bytes to keep for a task",
        ("", "printed", "numbers alone", "safetensors file", "why"),
        tuple(rows),
        (
            f"Trained parameters as they are saved, in float32; demonstrations as ids of {data['token_bytes']} bytes a "
            "token. A record has the bytes of the demonstrations' text instead, which needs no tokenizer to be read.",
        ),
    )


def _by_rule(work: Work) -> tuple[str, str, str, str]:
    """What the paper prints, what its rule gives, and how far the two are apart."""
    return work.name, work.printed, _flops(work.rule), _off(work.rule, float(work.printed))


def _flops(value: int) -> str:
    """Three digits, as 1.13e12."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


def _off(value: float, reference: float) -> str:
    return f"{value / reference - 1:+.1%}" if reference else ""
