"""What a call asks of a stream: every wrong value is named, and the defaults are those of the help."""

from __future__ import annotations

from typing import Any

import pytest

from tunefront.bench.cells import SHARED_WAYS
from tunefront.bench.errors import ErrorCollector
from tunefront.bench.suites.expand import STREAM
from tunefront.bench.suites.streams import StreamRequest
from tunefront.bench.suites.toml import known_suites
from tunefront.methods.spelling import parse, spell


def read(**changes: Any) -> tuple[StreamRequest, list[str]]:
    values: dict[str, Any] = {"suite": STREAM, "orders": (0, 1), "one_model": None, "ways": None, "replay_share": 0.1}
    wrong = ErrorCollector()
    request = StreamRequest.read(**{**values, **changes}, wrong=wrong)
    return request, wrong.messages


def test_the_default_model_for_all_tasks_is_the_first_method_of_the_suite() -> None:
    request, wrong = read()
    assert not wrong
    assert STREAM in known_suites()
    assert [spell(method) for method in request.one_model] == ["full"]
    assert request.ways == SHARED_WAYS


def test_named_methods_replace_it_and_none_leaves_it_out() -> None:
    assert read(one_model=["ia3", parse("lora:rank=2")])[0].one_model == (parse("ia3"), parse("lora:rank=2"))
    assert read(one_model=["none"])[0].one_model == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"orders": (-1,)}, "-1"),
        ({"orders": ("x",)}, "'x'"),
        ({"orders": ()}, "order"),
        ({"ways": ("sequentiel",)}, "sequential"),
        ({"ways": ("separate",)}, "separate"),
        ({"one_model": ["houlsbi"]}, "houlsby"),
        ({"replay_share": 0}, "0"),
        ({"replay_share": 1.5}, "1.5"),
        ({"replay_share": "half"}, "half"),
        ({"replay_share": float("nan")}, "nan"),
        ({"replay_share": True}, "True"),
        ({"suite": "strem"}, "stream"),
        ({"suite": 3}, "suite"),
        ({"orders": 0}, "orders"),
        ({"orders": "01"}, "orders"),
        ({"orders": None}, "orders"),
        ({"ways": "replay"}, "ways"),
        ({"ways": 3}, "ways"),
        ({"one_model": "full"}, "one_model"),
        ({"one_model": 3}, "one_model"),
        ({"one_model": [3]}, "3"),
        ({"one_model": ["none", "full"]}, "none"),
        ({"replay_share": 10**400}, "share"),
    ],
)
def test_a_wrong_value_is_one_message_that_names_it(changes: dict[str, Any], named: str) -> None:
    _, wrong = read(**changes)
    assert len(wrong) == 1
    assert named in wrong[0]


def test_texts_of_a_command_line_are_read_alike() -> None:
    wrong = ErrorCollector()
    request = StreamRequest.from_texts(STREAM, "0, 2", ["ia3"], ["replay"], "0.5", wrong)
    assert not wrong.messages
    assert (request.orders, request.ways, request.replay_share) == ((0, 2), ("replay",), 0.5)
    StreamRequest.from_texts(STREAM, "0,,1", [""], ["replay", "replay"], "", wrong)
    assert len(wrong.messages) == 4  # one for each option
