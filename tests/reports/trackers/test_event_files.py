"""Real event files, read with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.records.made import changed
from tests.reports.factory import failed, ledger, record
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record
from tunefront.reports.trackers.content import content
from tunefront.reports.trackers.event_files import FILE, EventFiles, folder_name
from tunefront.reports.trackers.push import push

pytest.importorskip("tensorboard")

IA3 = ledger(record(label="ia3", recipe={"learning_rate": 3e-4, "balanced": True, "optimizer": "adamw"}))
FULL = ledger(record(label="full"))


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def session(folder: Path) -> tuple[Any, Any]:
    """What TensorBoard's table of runs reads: the start and the end of a session."""
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = read(folder)
    contents = found.PluginTagToContent(metadata.PLUGIN_NAME)
    data = [
        HParamsPluginData.FromString(contents[tag])
        for tag in (metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)
    ]
    return data[0].session_start_info, data[1].session_end_info


def test_a_run_has_every_metric_and_no_other(tmp_path: Path) -> None:
    push([IA3], f"tensorboard:{tmp_path}")
    found = read(only(tmp_path))
    metrics = content(IA3).metrics
    assert set(found.Tags()["scalars"]) == set(metrics)
    for name in ("scores.test.accuracy", "flops.train", "memory.phases.forward.inputs_bytes"):
        (event,) = found.Scalars(name)
        assert event.value == pytest.approx(metrics[name], rel=1e-6)  # a scalar has 24 bits
        assert event.step == 0
        assert event.wall_time == content(IA3).ended.timestamp()


def test_what_was_set_is_a_hyper_parameter(tmp_path: Path) -> None:
    push([IA3], f"tensorboard:{tmp_path}")
    start, end = session(only(tmp_path))
    from tensorboard.plugins.hparams import api_pb2

    assert start.hparams["recipe.learning_rate"].number_value == 3e-4
    assert start.hparams["recipe.balanced"].bool_value
    assert start.hparams["label"].string_value == "ia3"
    assert start.group_name == IA3.key
    assert end.status == api_pb2.STATUS_SUCCESS
    assert end.end_time_secs - start.start_time_secs == pytest.approx(content(IA3).seconds)


@pytest.mark.parametrize(("status", "shown"), [("failed", "STATUS_FAILURE"), ("skipped", "STATUS_UNKNOWN")])
def test_a_cell_without_a_score_has_its_status_and_reason(tmp_path: Path, status: str, shown: str) -> None:
    from tensorboard.plugins.hparams import api_pb2

    push([failed(status, reason="no key projection")], f"tensorboard:{tmp_path}")
    start, end = session(only(tmp_path))
    assert api_pb2.Status.Name(end.status) == shown
    assert start.hparams["status"].string_value == status
    assert start.hparams["reason"].string_value == "no key projection"
    assert not read(only(tmp_path)).Tags()["scalars"]


def test_pushing_twice_writes_nothing(tmp_path: Path) -> None:
    records = [IA3, FULL, failed()]
    first = push(records, f"tensorboard:{tmp_path}")
    states = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = push(records, f"tensorboard:{tmp_path}")
    assert (first.new, first.changed, first.same) == (3, 0, 0)
    assert (second.new, second.changed, second.same) == (0, 0, 3)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == states


def test_a_record_without_a_time_is_the_same_later(tmp_path: Path) -> None:
    """Its run ends when it is pushed first."""
    timeless = changed(IA3, {"environment.created_at": None})
    push([timeless], f"tensorboard:{tmp_path}")
    (events,) = only(tmp_path).glob("events*")
    events.rename(events.with_name(events.name.replace(events.name.split(".")[3], "1")))  # long ago
    assert push([timeless], f"tensorboard:{tmp_path}").same == 1


def test_a_changed_record_takes_the_place_of_its_run(tmp_path: Path) -> None:
    push([IA3], f"tensorboard:{tmp_path}")
    later = changed(IA3, {"scores.test": {"accuracy": 0.25}, "label": "renamed"})
    pushed = push([later], f"tensorboard:{tmp_path}")
    assert (pushed.new, pushed.changed) == (0, 1)
    found = read(only(tmp_path))
    assert [event.value for event in found.Scalars("scores.test.accuracy")] == [0.25]
    assert "scores.test.f1" not in found.Tags()["scalars"]


@pytest.mark.parametrize("lost", ["*tfevents*", FILE])
def test_a_half_written_run_is_written_again(tmp_path: Path, lost: str) -> None:
    push([IA3], f"tensorboard:{tmp_path}")
    (path,) = only(tmp_path).glob(lost)
    path.unlink()
    only(tmp_path).joinpath(".events.out.tfevents.1.x.tmp").write_bytes(b"cut")
    assert push([IA3], f"tensorboard:{tmp_path}").changed == 1
    assert sorted(path.name.split(".")[0] for path in only(tmp_path).iterdir()) == ["events", "record"]
    assert read(only(tmp_path)).Scalars("score")[0].value == pytest.approx(IA3.score)


def test_the_whole_record_is_beside_the_events(tmp_path: Path) -> None:
    push([IA3], f"tensorboard:{tmp_path}")
    assert Record.model_validate_json(only(tmp_path).joinpath(FILE).read_text(encoding="utf-8")) == IA3


def test_hostile_names_stay_in_the_folder_and_are_no_markup(tmp_path: Path) -> None:
    odd = changed(
        IA3, {"label": "../../<img src=x>\x1b[31m", "task": "/etc/passwd\n![x](http://y)", "template": ".." * 300}
    )
    push([odd], f"tensorboard:{tmp_path / 'runs'}")
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    folder = only(tmp_path / "runs")
    assert folder.name.isascii()
    assert folder.name.isprintable()
    assert len(folder.name.encode()) < 200
    (event,) = read(folder).Tensors("record")
    text = event.tensor_proto.string_val[0].decode()
    assert all(line.startswith("    ") for line in text.splitlines())  # a block of code


def test_two_records_of_one_name_have_two_folders() -> None:
    assert folder_name(content(IA3)) != folder_name(content(changed(IA3, {"key": "f" * 64})))


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("x")
    with pytest.raises(UserError, match="is a file; give a folder"):
        EventFiles(str(tmp_path / "file"))
    with pytest.raises(UserError, match="give a local folder"):
        EventFiles("s3://bucket/runs")
    with pytest.raises(UserError, match="mlflow only"):
        push([IA3], f"tensorboard:{tmp_path}", experiment="mine")
    with pytest.raises(UserError, match="no records to push"):
        push([], f"tensorboard:{tmp_path}")
