"""Proposes a record of sites for an architecture that has none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, cast

from torch import nn

from tunefront.bench.models.families import Backbone
from tunefront.bench.models.families.leads import check_attention, lead_attention
from tunefront.bench.models.families.logits import FAILURES, evaluating
from tunefront.bench.probe.leaves import Timeline, block_lists, is_linear, leaves, place_in_block
from tunefront.bench.probe.roles import DOWN, FUSED, OUTPUT, is_fused_by_head, roles_by_name, roles_by_trial
from tunefront.methods.base import Batch, Unsupported
from tunefront.methods.inject import is_norm
from tunefront.methods.sites import Sites

_OUTPUTS = ("sublayer_output", "ffn_output")
Place = tuple[str, str]
"""A list of blocks, and a path within its blocks."""


@dataclass(frozen=True)
class Proposal:
    """A proposed record.

    `tried` says whether the queries, keys and values were found by running a few tokens, not by names; `unknown` are
    linear layers in blocks, by their paths there, whose role was not found.
    """

    sites: Sites
    tried: bool
    unknown: tuple[str, ...]


def propose(backbone: Backbone, pooling: str | None, few: Batch | None) -> Proposal | None:
    """The record for a backbone's architecture, found by running a few tokens, or from names if it cannot run; None if
    it has no list of blocks. `pooling` is what its head reads, `few` a batch of encoded rows, None for a
    model without values."""
    lists = block_lists(backbone.model)
    return _Search(backbone, lists, few).proposal(pooling) if lists else None


class _Search:
    """The search for the sites of one model, whose blocks are in `lists`."""

    def __init__(self, backbone: Backbone, lists: list[str], few: Batch | None):
        self.backbone, self.model, self.lists, self.few = backbone, backbone.model, lists, few
        runs = few is not None
        self.observed = runs and _works(lambda: check_attention(self.model)) and _works(self._run)
        self.timeline = self._run() if self.observed or (runs and _works(self._run)) else None

    def proposal(self, pooling: str | None) -> Proposal:
        """What was found."""
        roles = self._roles()
        by_role: dict[str, list[Place]] = {}
        for place, role in roles.items():
            by_role.setdefault(role, []).append(place)
        outputs = {role: [self._followed_by(place) for place in by_role.get(role, ())] for role in (OUTPUT, DOWN)}
        complete = self._in_every_block(outputs[DOWN])
        norms = [path for path, module in leaves(self.model).items() if is_norm(module)]
        fused = by_role.pop(FUSED, [])
        # The order of its queries, keys and values does not follow from its name.
        by_head = self._fused_by_head(fused[0]) if fused and self.observed else None
        if by_head is None:
            fused = []
        sites = {role: self._regex(places) for role, places in by_role.items()}
        values: dict[str, Any] = {  # Any: as the fields
            field.name: None for field in fields(Sites) if field.default is MISSING
        }
        values |= sites
        values |= {
            "block": _blocks(self.lists),
            "fused": fused[0][1] if fused else None,
            "fused_by_head": bool(by_head),
            "sublayer_output": self._regex([*outputs[OUTPUT], *outputs[DOWN]]) if complete else None,
            "ffn_output": self._regex(outputs[DOWN]) if complete else None,
            "absent": None if complete else "some of its blocks have no feed-forward of linear layers",
            "norms": self._paths(norms),
            "final_norm": self._final_norm(norms),
            "pooling": pooling or "first",
            "family": self.backbone.sites.family,
        }
        values["repeated"] = frozenset(self._repeated({name: values[name] for name in (*sites, *_OUTPUTS)}))
        known = {place for places in (*by_role.values(), fused) for place in places}
        unknown = sorted({place[1] for place in self._linears()} - {place[1] for place in known})
        return Proposal(Sites(**values), self.observed, tuple(unknown))

    def _run(self) -> Timeline:
        """A few tokens through every stack. Where the attention takes no lead, by which it is observed, only the calls
        of leaves are."""
        timeline = Timeline({module: path for path, module in self.model.named_modules()})
        with evaluating(self.model), timeline.recording(self.model):
            if not getattr(self, "observed", True):
                self.backbone.features(cast(Batch, self.few))
                return timeline
            with lead_attention(self.model):
                self.backbone.run_sample(timeline)
        if not timeline.attended:
            raise Unsupported("its attention does not pass keyword arguments on")
        return timeline

    def _linears(self) -> list[Place]:
        """The linear layers of all blocks, each path once for each list."""
        places = [(place_in_block(path, self.lists), module) for path, module in leaves(self.model).items()]
        return list(dict.fromkeys((place[0], place[2]) for place, module in places if place and is_linear(module)))

    def _roles(self) -> dict[Place, str]:
        """The role of each linear layer, over all blocks: those of a list may differ."""
        found: dict[Place, str] = {}
        for blocks in self.lists:
            tried: set[str] = set()
            for number, block in enumerate(self.model.get_submodule(blocks).children()):
                linears = [path for path, module in block.named_modules() if is_linear(module)]
                if set(linears) <= tried:
                    continue
                tried |= set(linears)
                own = roles_by_name(linears)
                if self.timeline is not None:
                    by_trial = roles_by_trial(self.model, f"{blocks}.{number}", linears, self._run)
                    own = {path: role for path, role in own.items() if role not in by_trial.values()} | by_trial
                found |= {(blocks, path): role for path, role in own.items()}
        return found

    def _in_every_block(self, places: Iterable[Place]) -> bool:
        """Whether every block has one of these places, so that what follows a sublayer follows all of them."""
        places, known = list(places), leaves(self.model)
        blocks = [
            (name, number) for name in self.lists for number, _ in enumerate(self.model.get_submodule(name).children())
        ]
        return all(
            any(f"{name}.{number}.{path}" in known for own, path in places if own == name) for name, number in blocks
        )

    def _fused_by_head(self, place: Place) -> bool | None:
        return is_fused_by_head(self.model, f"{place[0]}.0.{place[1]}", self._run)

    def _followed_by(self, place: Place) -> Place:
        """The dropout that follows an output projection and nothing else; without one, the projection."""
        if self.timeline is None:
            return place
        calls = [(call, inner) for call in self.timeline.calls if (inner := place_in_block(call.path, self.lists))]
        times = Counter(call.path for call, _ in calls)
        outputs = [call for call, inner in calls if (inner[0], inner[2]) == place]
        for call, inner in calls:
            follows = bool(outputs) and call.reads is outputs[0].returns and inner[0] == place[0]
            alone = follows and times[call.path] == times[outputs[0].path]
            if alone and isinstance(self.model.get_submodule(call.path), nn.Dropout | nn.Identity):
                return inner[0], inner[2]
        return place

    def _regex(self, places: Iterable[Place]) -> str | None:
        """The regex of places in the blocks of their lists; None for no place."""
        lists: dict[str, list[str]] = {}
        for blocks, path in dict.fromkeys(places):
            lists.setdefault(path, []).append(re.escape(blocks))
        parts = [
            rf"{own[0] if len(own) == 1 else f'({chr(124).join(own)})'}\.\d+\.{re.escape(path)}"
            for path, own in lists.items()
        ]
        return "|".join(parts) or None

    def _paths(self, paths: Iterable[str]) -> str | None:
        """The regex of whole paths, those in blocks for every block."""
        paths = list(paths)
        inside = [(place[0], place[2]) for path in paths if (place := place_in_block(path, self.lists))]
        outside = [re.escape(path) for path in paths if place_in_block(path, self.lists) is None]
        return "|".join(filter(None, [*outside, self._regex(inside)])) or None

    def _final_norm(self, norms: list[str]) -> str | None:
        """The norm that is called after the last block."""
        calls = [] if self.timeline is None else [call.path for call in self.timeline.calls]
        inside = [number for number, path in enumerate(calls) if place_in_block(path, self.lists)]
        after = [path for path in calls[inside[-1] + 1 :] if path in norms] if inside else []
        return re.escape(after[0]) if after else None

    def _repeated(self, sites: Mapping[str, str | None]) -> list[str]:
        """The sites whose leaves a pass calls more than once, and the blocks if all of their layers are."""
        times = Counter(call.path for call in self.timeline.calls) if self.timeline else Counter[str]()
        twice = [path for path, count in times.items() if count > 1]
        found = [role for role, regex in sites.items() if regex and any(re.fullmatch(regex, path) for path in twice)]
        return [*found, "block"] if len(found) == len(sites) else found


def _works(call: Any) -> bool:  # Any: a callable without arguments
    try:
        call()
    except (Unsupported, *FAILURES):
        return False
    return True


def _blocks(lists: list[str]) -> str:
    """The regex of the blocks of all lists; its group is a block's number."""
    paths = "|".join(re.escape(path) for path in lists)
    return rf"{paths if len(lists) == 1 else f'(?:{paths})'}\.(\d+)"
