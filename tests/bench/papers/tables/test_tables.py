"""Papers' tables and ours: printed figures are data; results by rule, formula and count are computed."""

from __future__ import annotations

import io
import tomllib
from functools import cache

import pytest
from rich.console import Console

from tunefront.bench.errors import UserError
from tunefront.bench.papers.reading import known_papers, paper_data
from tunefront.bench.papers.tables.catalog import paper_tables, print_paper
from tunefront.bench.papers.tables.cost_tables import why, why_disk
from tunefront.bench.papers.tables.costs import Disk, Line, lines
from tunefront.bench.papers.tables.sizes import Size, closed_form, printed_sizes, sizes
from tunefront.bench.papers.tables.table import prints_as

UNEXPLAINED_BY_THE_RULE = ["GPT-3 6.7B, in context", "GPT-3 13B, in context"]

# m: adapters and norms of BERT-base and of BERT-large, and the size for nine tasks on BERT-large, worked out by hand
# from the published sizes: 2L(2md + m + d) + 2d(2L + 1) with L = 12, d = 768 and L = 24, d = 1024.
HOULSBY = {
    2: (130_608, 346_208, "1.01"),
    4: (204_384, 542_912, "1.01"),
    8: (351_936, 936_320, "1.03"),
    16: (647_040, 1_723_136, "1.05"),
    32: (1_237_248, 3_296_768, "1.09"),
    64: (2_417_664, 6_444_032, "1.17"),
    128: (4_778_496, 12_738_560, "1.34"),
    256: (9_500_160, 25_327_616, "1.68"),
    512: (18_943_488, 50_505_728, "2.36"),
    1024: (37_830_144, 100_861_952, "3.71"),
}


@cache
def costs() -> list[Line]:
    return lines(paper_data("tfew2022"))


@cache
def swept(backbone: str) -> list[Size]:
    return sizes(paper_data("houlsby2019"), backbone)


def test_the_rule_gives_ten_of_t_fews_twelve_figures_as_printed() -> None:
    works = [work for line in costs() for work in (line.inference, line.training)]
    assert len(works) == 12
    assert [work.name for work in works if not work.agrees] == UNEXPLAINED_BY_THE_RULE


def test_the_rule_gives_what_it_gives_by_hand() -> None:
    per_demonstration, query = 98, 103
    context = 41 * per_demonstration + query
    by_hand = [11e9 * query, 11e9 * query, 11e9 * context, *(2 * n * context for n in (6.7e9, 13e9, 175e9))]
    assert [line.inference.rule for line in costs()] == pytest.approx(by_hand, rel=1e-12)
    assert [line.training.rule for line in costs()] == pytest.approx([3 * 11e9 * 1000 * 8 * query, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("name", "rule", "without"),
    [("GPT-3 6.7B, in context", "5.52e13", "5.38e13"), ("GPT-3 13B, in context", "1.07e14", "1.04e14")],
)
def test_two_figures_leave_out_the_querys_own_tokens(name: str, rule: str, without: str) -> None:
    (work,) = [line.inference for line in costs() if line.inference.name == name]
    assert why(work) == f"the rule gives {rule}; without the query's own tokens {without}, as printed"


def test_no_other_figure_is_as_printed_without_the_querys_tokens_alone() -> None:
    """So that the difference is the paper's in these two lines, and not another rule that fits all of them."""
    (t5,) = [line.inference for line in costs() if line.inference.name.startswith("T5+LM")]
    assert t5.without_query is not None
    assert not prints_as(t5.without_query, t5.printed)


def test_the_count_is_near_the_rule_and_states_what_the_rule_leaves_out() -> None:
    for line in costs():
        work = line.inference
        assert work.analytic.forward == pytest.approx(work.rule, rel=0.15)
        without_attention = work.analytic.forward - work.analytic.parts["attention"]
        assert without_attention == pytest.approx(work.rule, rel=0.05)
    training = costs()[0].training.analytic
    assert training.weight_gradients < 0.001 * training.forward  # three vectors a block
    assert training.backward == pytest.approx(training.forward, rel=0.05)  # where the rule has twice as much


def test_keeping_the_demonstrations_saves_most_of_a_query() -> None:
    kept = {line.inference.name: line.inference.kept for line in costs()}
    assert [name for name, flops in kept.items() if flops] == [f"GPT-3 {n}B, in context" for n in ("6.7", "13", "175")]
    for line in costs():
        if line.inference.kept is not None:
            assert line.inference.kept.forward < line.inference.analytic.forward / 30


def test_t_fews_disk_is_the_trained_vectors_in_a_file() -> None:
    disk, *others = (line.disk for line in costs())
    assert disk.numbers == 4 * 24 * ((2 * 4096 + 10240) + (4 * 4096 + 10240))
    assert not disk.agrees
    assert disk.numbers < disk.safetensors < disk.torch
    assert "torch.save() file" in why_disk(disk)
    assert "units of 1,048,576 B" in why_disk(disk)
    assert [other.numbers for other in others] == [0, *[41 * 98 * 4] * 4]
    assert all(other.agrees for other in others)


def test_models_that_take_fewer_tokens_than_are_counted_are_named_with_how_many() -> None:
    notes = [note for table in paper_tables("tfew2022") for note in table.notes if "positions" in note]
    (note,) = notes
    assert [name for name in ("T-Few", "T0,", "T5+LM", "GPT-3 6.7B", "GPT-3 13B", "GPT-3 175B") if name in note] == [
        *("GPT-3 6.7B", "GPT-3 13B", "GPT-3 175B")
    ]
    assert "2,048 positions" in note
    assert "4,121 tokens" in note


def test_what_no_file_explains_is_said_to_be_unexplained() -> None:
    assert why_disk(Disk("a method", "7.0 MB", 1_000_000, 1_000_100, 1_000_200)) == "not explained"


@pytest.mark.parametrize(("backbone", "place"), [("bert-base", 0), ("bert-large", 1)])
def test_attached_adapters_are_as_many_as_by_the_formula(backbone: str, place: int) -> None:
    counts = {size.size: (size.formula, size.trained) for size in swept(backbone)}
    assert counts == {m: (row[place], row[place]) for m, row in HOULSBY.items()}


def test_the_formula_is_that_of_both_layers_of_a_bottleneck() -> None:
    assert closed_form(layers=1, width=2, size=3) == 2 * (2 * 3 + 3 + 3 * 2 + 2) + 3 * (2 + 2)


@pytest.mark.parametrize("m", HOULSBY)
def test_nine_tasks_take_one_backbone_and_nine_sets_of_adapters(m: int) -> None:
    (size,) = [size for size in swept("bert-large") if size.size == m]
    assert f"{size.total(9):.2f}" == HOULSBY[m][2]
    assert size.share == pytest.approx(100 * HOULSBY[m][1] / 335_141_888)


def test_what_houlsby_prints_is_found_once_the_embeddings_leave_the_denominator() -> None:
    fine_tuning, best, fixed = printed_sizes(paper_data("houlsby2019"))
    assert fine_tuning[1][0].total(9) == 9.0
    assert fine_tuning[1][0].trained == 335_141_888
    assert [size.size for size in best[1]] == [8, 64, 256]
    assert not prints_as(fixed[1][0].share, fixed[0]["trained"])
    assert prints_as(fixed[1][0].share_without_embeddings, fixed[0]["trained"])
    assert [row[-1] for row in paper_tables("houlsby2019")[-1].rows] == [
        "as printed",
        "in between: the size chosen per task is not printed",
        "as printed, without embeddings in the denominator",
    ]


@pytest.mark.parametrize("name", ["houlsby2019", "tfew2022"])
def test_a_paper_is_printed_with_its_name_and_every_line(name: str) -> None:
    out = io.StringIO()
    print_paper(name, Console(file=out, width=200))
    text = out.getvalue()
    assert known_papers()[name] in text
    assert "arXiv:" in text
    for table in paper_tables(name):
        assert table.title in text
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all(row[0].replace(" %", "%") in text for row in table.rows)  # a number and its unit are one word


def test_an_unknown_paper_offers_the_nearest() -> None:
    with pytest.raises(UserError, match="no paper 'tfew2020'; did you mean 'tfew2022'"):
        paper_tables("tfew2020")


def test_the_data_of_papers_holds_printed_figures_as_texts() -> None:
    """As numbers they would lose their last digit: 1.0e14 would be 1e14."""
    data = tomllib.loads('x = "1.0e14"')
    assert prints_as(1.04e14, data["x"])
    assert not prints_as(1.07e14, data["x"])
    for row in paper_data("tfew2022")["rows"]:
        assert all(isinstance(row[name], str) for name in ("inference_flops", "training_flops", "disk"))
