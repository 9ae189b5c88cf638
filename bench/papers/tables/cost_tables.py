"""The cost tables of a paper for printing: figures, differences and explanations."""

from __future__ import annotations

from collections.abc import Sequence

from tunefront.bench.papers.tables.costs import BINARY, UNITS, Data, Disk, Line, Work, lines
from tunefront.bench.papers.tables.table import PaperTable, prints_as


def cost_tables(data: Data) -> tuple[PaperTable, ...]:
    """Tables for a query, for training, and for the bytes to keep per task."""
    computed = lines(data)
    return _inference(data, computed), _training(data, computed), _disk(data, computed)


def why(work: Work) -> str:
    """Explains agreement or difference between the rule and the printed figure."""
    if work.agrees:
        return "as printed" if work.rule else "nothing is trained"
    result = f"the rule gives {_flops(work.rule)}"
    if work.without_query is not None and prints_as(work.without_query, work.printed):
        return f"{result}; without the query's own tokens {_flops(work.without_query)}, as printed"
    return f"{result}; not explained"


def why_disk(disk: Disk) -> str:
    """Explains printed bytes: which file, in which unit, matches."""
    if disk.agrees:
        return "as printed" if disk.numbers else "nothing is stored"
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
                    f"{BINARY[unit]:,} B; {what} matches in units of {name}, so "
                    "that may have been measured"
                )
    return "not explained"


def _inference(data: Data, computed: Sequence[Line]) -> PaperTable:
    works = [line.inference for line in computed]
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
            f"The rule: N per token for an encoder-decoder, 2N for a decoder, N from the models' names; "
            f"{data['query_tokens']} tokens of a query with its choices, after {data['demonstrations']} demonstrations "
            f"of {data['demonstration_tokens']} = {read:,} tokens in context. Counted: matrix products and attention "
            f"in closed form, {data['choices']} choices of {data['choice_tokens']} tokens (our assumption), "
            "demonstrations read again for every query as in the paper; kept: with their keys and values reused, as we "
            "do for decoders.",
            f"The rule leaves out attention's quadratic term, {min(shares):.1%} to {max(shares):.1%} of the count; it "
            "counts embeddings, which are looked up, as products, and the output layer at every token, although it "
            "is computed only for the choices.",
            *_beyond(works, read + data["query_tokens"]),
        ),
    )


def _beyond(works: Sequence[Work], tokens: int) -> list[str]:
    """Notes about models with fewer positions than the paper's token count."""
    short: dict[int, list[str]] = {}
    for work in works:
        if work.lacking:
            short.setdefault(work.lacking, []).append(repr(work.name))
    return [
        f"{', '.join(names)}: the model has {positions:,} positions, but the paper counts {tokens:,} tokens; our "
        "count assumes that it takes them all."
        for positions, names in short.items()
    ]


def _training(data: Data, computed: Sequence[Line]) -> PaperTable:
    works = [line.training for line in computed]
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
        "forward pass. Counted, as above: in training every choice is a separate row of the decoder."
    ]
    dearest = max((line.inference for line in computed), key=lambda work: work.rule)
    for work in works:
        if not work.rule:
            continue
        counted = work.analytic.forward + work.analytic.backward
        notes.append(
            f"{work.name}: the backward pass is {work.analytic.backward / work.analytic.forward:.2f} times the "
            "forward pass, not twice, since frozen weights need no gradients."
        )
        in_queries = [
            f"{float(work.printed) / float(dearest.printed):.0f} as printed",
            f"{work.rule / dearest.rule:.0f} by the rule",
            f"{counted / dearest.analytic.forward:.0f} counted",
        ]
        if dearest.kept is not None:
            in_queries.append(f"{counted / dearest.kept.forward:,.0f} with cached demonstrations")
        notes.append(f"Number of queries of {dearest.name!r} that cost as much as training: {', '.join(in_queries)}.")
    return PaperTable(
        "FLOPs of training on a task",
        ("", "printed", "by its rule", "off", "counted forward", "backward", "off the rule", "why"),
        tuple(rows),
        tuple(notes),
    )


def _disk(data: Data, computed: Sequence[Line]) -> PaperTable:
    rows = [
        (
            disk.name,
            disk.printed,
            f"{disk.numbers:,} B",
            f"{disk.safetensors:,} B" if disk.safetensors else "",
            why_disk(disk),
        )
        for disk in (line.disk for line in computed)
    ]
    return PaperTable(
        "Bytes to store per task",
        ("", "printed", "numbers alone", "safetensors file", "why"),
        tuple(rows),
        (
            f"Trained parameters as saved, in float32; demonstrations as ids of {data['token_bytes']} bytes per token. "
            "A record has the bytes of the demonstrations' text instead, which needs no tokenizer.",
        ),
    )


def _by_rule(work: Work) -> tuple[str, str, str, str]:
    """(name, printed figure, result of the rule, their relative difference)."""
    return work.name, work.printed, _flops(work.rule), _off(work.rule, float(work.printed))


def _flops(value: int) -> str:
    """Three significant digits, as 1.13e12."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


def _off(value: float, reference: float) -> str:
    return f"{value / reference - 1:+.1%}" if reference else ""
