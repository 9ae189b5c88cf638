"""`--shard`: the cells of one machine, without a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.world import World
from tunefront import ablate, load_records, run
from tunefront.bench.errors import UserError

pytestmark = pytest.mark.usefixtures("reports")

SOME = ("run", "--method", "ia3", "--method", "full", "--backbone", "tiny", "--task", "docstrings/kind")
SOME = (*SOME, "--seeds", "0,1,2,3")


def test_shards_have_the_cells_of_the_run_each_once_and_no_report(call: Any, world: World, tmp_path: Path) -> None:
    whole = call(*SOME, "--out", "whole")
    assert whole.exit_code == 0
    for number in (1, 2, 3):
        result = call(*SOME, "--shard", f"{number}/3")
        assert result.exit_code == 0, result.output
        assert "tunefront report results" in result.stdout.splitlines()[-1]
        assert "SUMMARY of" in result.stdout
        assert "the summary warns" in whole.stderr
        assert "the summary warns" not in result.stderr
        assert f"shard {number}/3: {len(world.calls[-1]['cells'])} of 8 cells" in result.stderr
    shards = [set(known["cells"]) for known in world.calls[1:]]
    assert sum(map(len, shards)) == len(set.union(*shards)) == 8
    assert set.union(*shards) == set(world.calls[0]["cells"])
    assert {record.key for record in load_records("results")} == {record.key for record in load_records("whole")}
    assert not (tmp_path / "results" / "report").exists()
    assert (tmp_path / "whole" / "report").exists()


def test_a_shard_without_cells_ends_with_0_and_says_so(call: Any, world: World) -> None:
    one = (*SOME[:-1], "0", "--method", "lora")
    results = [call(*one, "--shard", f"{number}/64") for number in range(1, 65)]
    empty = [result for result, known in zip(results, world.calls, strict=True) if not known["cells"]]
    assert empty
    assert {result.exit_code for result in results} == {0}
    assert all("no cell" in result.stdout and "SUMMARY" not in result.stdout for result in empty)


@pytest.mark.parametrize("text", ["0/8", "9/8", "a/b", "1/0", "1/8/2", "", "٢/٨"])
def test_a_wrong_text_exits_2_with_one_paragraph_and_runs_nothing(
    call: Any, world: World, tmp_path: Path, text: str
) -> None:
    for command in (SOME, ("ablate", "size", *SOME[1:])):
        result = call(*command, "--shard", text)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert "--shard" in result.stderr
    assert not world.calls
    assert not (tmp_path / "results").exists()


def test_cells_that_depend_on_scores_have_no_shards(call: Any, world: World, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    result = call(*SOME, "--trials", "3", "--sampler", "optuna", "--shard", "1/2")
    assert result.exit_code == 2
    assert "optuna" in result.stderr
    assert call("stream", "--shard", "1/2").exit_code == 2
    assert call("mix", "--shard", "1/2").exit_code == 2
    assert not world.calls
    with pytest.raises(UserError, match="optuna"):
        run(methods=["lora"], trials=3, sampler="optuna", shard="1/2", out=tmp_path)


def test_an_ablation_has_shards_too(call: Any, world: World) -> None:
    sizes = ("ablate", "size", "--method", "houlsby", "--values", "2,4,8", "--task", "docstrings/kind")
    call(*sizes, "--out", "whole")
    for number in (1, 2):
        assert call(*sizes, "--shard", f"{number}/2").exit_code == 0
    assert {record.key for record in load_records("results")} == {record.key for record in load_records("whole")}


def test_the_keyword_does_the_same(world: World, tmp_path: Path) -> None:
    some = {"methods": ["ia3", "full"], "backbones": ["tiny"], "tasks": ["docstrings/kind"], "seeds": [0, 1, 2]}
    whole = run(**some, out=tmp_path / "whole")
    shards = [run(**some, shard=f"{number}/2", out=tmp_path / "shared") for number in (1, 2)]
    assert sorted(record.key for shard in shards for record in shard) == sorted(record.key for record in whole)
    sizes = {"methods": ["houlsby"], "values": [2, 4, 8], "tasks": ["docstrings/kind"], "out": tmp_path / "sizes"}
    ablated = [ablate("size", **sizes, shard=f"{number}/2") for number in (1, 2)]
    assert sorted(record.key for shard in ablated for record in shard) == sorted(
        record.key for record in ablate("size", **sizes)
    )
    for wrong in ("3/2", 2, b"1/2"):
        with pytest.raises(UserError, match="shard"):
            run(**some, shard=wrong, out=tmp_path)  # type: ignore[arg-type]


def test_a_packing_file_needs_a_job(call: Any, world: World) -> None:
    result = call(*SOME, "--packed", "packing.json")
    assert result.exit_code == 2
    assert "--shard" in result.stderr
    result = call(*SOME, "--packed", "packing.json", "--shard", "1/2")
    assert result.exit_code == 2
    assert "packing.json" in result.stderr
    assert not world.calls
