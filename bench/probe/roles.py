"""The role of each linear layer in a block: found by what a change of its output changes, else by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tunefront.bench.probe.leaves import Call, Timeline, changed_output, is_linear
from tunefront.methods.inject import width
from tunefront.methods.sites.fused import Fused

Run = Callable[[], Timeline]
"""Runs a few tokens through every stack."""
PROJECTIONS = ("query", "key", "value")
FUSED = "fused"
OUTPUT, UP, GATE, DOWN = "attention_output", "ffn_up", "ffn_gate", "ffn_down"
_NAMES = {
    "query": r"w?q|(attn_)?query|q_(proj|lin|linear)|query_(proj|layer)|to_q|q_net",
    "key": r"w?k|(attn_)?key|k_(proj|lin|linear)|key_(proj|layer)|to_k|k_net",
    "value": r"w?v|(attn_)?value|v_(proj|lin|linear)|value_(proj|layer)|to_v|v_net",
    FUSED: r"w?qkv|qkv_(proj|linear)|query_key_value|c_attn|in_proj|to_qkv|attn_qkv",
    OUTPUT: r"o_proj|out_(proj|lin|linear)|to_out|w?o|att_proj|dense",
    GATE: r"gate(_proj)?|wi_0|w1",
    UP: r"up(_proj)?|gate_up_proj|wi(_1)?|fc1|fc_in|c_fc|lin1|linear1|dense_h_to_4h|intermediate|w3|ffn|dense_in",
    DOWN: r"down(_proj)?|wo|fc2|fc_out|c_proj|lin2|linear2|dense_4h_to_h|w2|ffn_output|dense_out|dense",
}
"""Usual names of the layers, the surest first."""
_ATTENTION = re.compile(r"att", re.IGNORECASE)


def roles_by_name(linears: Sequence[str]) -> dict[str, str]:
    """Path within a block -> role, by the names of its linear layers; those with no usual name are left out."""
    found: dict[str, str] = {}
    for path in linears:
        *parents, leaf = path.lower().split(".")
        in_attention = any(_ATTENTION.search(parent) for parent in parents) or _ATTENTION.search(leaf) is not None
        names = [leaf, *parents[-1:]] if leaf in ("dense", "linear") else [leaf]
        roles = (*PROJECTIONS, FUSED, OUTPUT) if in_attention else (GATE, UP, DOWN)
        if in_attention and leaf == "c_proj":
            found[path] = OUTPUT
            continue
        for role in roles:
            if any(re.fullmatch(_NAMES[role], name) for name in names):
                found[path] = role
                break
    return found


def roles_by_trial(model: nn.Module, block: str, linears: Sequence[str], run: Run) -> dict[str, str]:
    """Path within a block -> role, by running a few tokens while the output of one linear layer is changed.

    A layer inside an attention module is the projection of what it changes among the queries, keys and values there;
    it is fused if it changes all three. The first other layer after the products is the output projection. The rest is
    the feed-forward: the last layer is its output, and a layer before is the gate unless twice its output gives twice
    the input of the last.
    """
    plain = run()
    called = [call for call in plain.calls if call.path.startswith(f"{block}.")]
    attentions = [path for path in plain.attended if path.startswith(f"{block}.")]
    found: dict[str, str] = {}
    for path in linears:
        inside = [attention for attention in attentions if f"{block}.{path}".startswith(f"{attention}.")]
        if inside:
            role = _projection(model, f"{block}.{path}", inside[-1], plain, run)
            if role is not None:
                found[path] = role
    order = [call for call in called if is_linear(model.get_submodule(call.path)) or call.path in attentions]
    for attention in attentions:
        place = next(number for number, call in enumerate(order) if call.path == attention)
        query, value = plain.attended[attention][0], plain.attended[attention][2]
        read, written = query.shape[1] * value.shape[3], _width_of_block(model, block, found)
        after = [call.path.removeprefix(f"{block}.") for call in order[place + 1 :]]
        output = next((path for path in after if path not in found and path in linears), None)
        if output is not None and _shape(model, f"{block}.{output}") in ((read, written), (read, None)):
            found[output] = OUTPUT
    rest = [call for call in order if call.path.removeprefix(f"{block}.") in set(linears) - set(found)]
    found |= {path.removeprefix(f"{block}."): role for path, role in _feed_forward(model, rest, run).items()}
    return found


def _shape(model: nn.Module, path: str) -> tuple[int, int]:
    leaf = model.get_submodule(path)
    return width(model, leaf, "in"), width(model, leaf, "out")


def _width_of_block(model: nn.Module, block: str, found: Mapping[str, str]) -> int | None:
    """The width of the states that a block's projections read; None if none was found."""
    return next((_shape(model, f"{block}.{path}")[0] for path in found), None)


def _projection(model: nn.Module, path: str, attention: str, plain: Timeline, run: Run) -> str | None:
    """The projection that a layer computes in its attention, as wide as what it makes there; None if it is none."""
    with changed_output(model.get_submodule(path)):
        now = run().attended[attention]
    changed = [
        name
        for name, before, after in zip(PROJECTIONS, plain.attended[attention], now, strict=True)
        if not torch.equal(before, after)
    ]
    if len(changed) == 1:
        made = plain.attended[attention][PROJECTIONS.index(changed[0])]
        shared = getattr(model.config, "num_key_value_heads", None) or made.shape[1]  # repeated before the products
        widths = {made.shape[1] * made.shape[3], *({shared * made.shape[3]} if changed[0] != "query" else ())}
        return changed[0] if _shape(model, path)[1] in widths else None
    return FUSED if len(changed) == len(PROJECTIONS) else None


def is_fused_by_head(model: nn.Module, path: str, run: Run) -> bool | None:
    """Whether the outputs of a fused projection are those of one head of keys after another, or all queries, all keys,
    then all values: what changes exactly the keys when its keys are changed, and so for the others. None for another
    order, which no record describes."""
    plain = run()
    attention = next(attention for attention in plain.attended if path.startswith(f"{attention}."))
    query = plain.attended[attention][0]
    outputs, heads = width(model, model.get_submodule(path), "out"), query.shape[1]
    for by_head in (False, True):
        try:
            layout = Fused.of(outputs, heads * query.shape[3], heads, by_head)
        except ValueError:
            continue
        if all(_changes_only(model, path, layout, part, attention, plain, run) for part in range(len(PROJECTIONS))):
            return by_head
    return None


def _changes_only(
    model: nn.Module, path: str, layout: Fused, part: int, attention: str, plain: Timeline, run: Run
) -> bool:
    """Whether the columns of a part (0 queries, 1 keys, 2 values) of a fused output are those of that part."""
    sizes = (layout.queries, layout.keys, layout.keys)
    query, key, value = (torch.full((size,), float(place == part)) for place, size in enumerate(sizes))
    with changed_output(model.get_submodule(path), columns=layout.join(query, key, value)):
        now = run().attended[attention]
    changed = [not torch.equal(before, after) for before, after in zip(plain.attended[attention], now, strict=True)]
    return changed == [place == part for place in range(len(PROJECTIONS))]


def _feed_forward(model: nn.Module, calls: Sequence[Call], run: Run) -> dict[str, str]:
    """The roles of the layers of the feed-forward, by path; none if they do not form one."""
    if len(calls) < 2 or len({call.path for call in calls}) != len(calls):
        return {}
    *ups, down = [call.path for call in calls]
    inner = width(model, model.get_submodule(down), "in")
    widths = [width(model, model.get_submodule(path), "out") for path in ups]
    if len(ups) == 1:
        return {ups[0]: UP, down: DOWN} if widths[0] in (inner, 2 * inner) else {}
    if len(ups) != 2 or widths != [inner, inner]:
        return {}
    before = _input_of(down, run())
    linear = []
    for path in ups:
        with changed_output(model.get_submodule(path), factor=2.0):
            linear.append(torch.allclose(_input_of(down, run()), 2 * before, rtol=1e-4, atol=1e-6))
    if linear.count(True) != 1:
        return {}
    up = ups[linear.index(True)]
    return {up: UP, next(path for path in ups if path != up): GATE, down: DOWN}


def _input_of(path: str, timeline: Timeline) -> Tensor:
    return next(call.reads for call in timeline.calls if call.path == path)
