"""Event files of TensorBoard, a folder per record, found again by the record's key at the end of the folder's name."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from tunefront.bench.errors import UserError
from tunefront.bench.files import local_folder, writing
from tunefront.reports.trackers.content import Content
from tunefront.reports.trackers.target import TENSORBOARD, importing

FILE = "record.json"
"""The whole record, beside its event file, written last."""
LONGEST_NAME, LONGEST_KEY = 120, 16
"""Characters of a folder's name, and those of the key after them: file systems end at 255 bytes."""
_FORBIDDEN = re.compile(r"[^\w.\-=,]+", re.ASCII)


class EventFiles:
    """A folder of runs. `place` names it; `notes` are empty: names of TensorBoard have no limits."""

    notes: tuple[str, ...] = ()

    def __init__(self, place: str) -> None:
        folder = local_folder(place)
        if folder is None:
            raise UserError(f"{TENSORBOARD}: {place} is a URL; give a local folder, and copy it there.")
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{TENSORBOARD}: {place} is a file; give a folder.")
        with importing(TENSORBOARD):
            import tensorboard.summary.writer.record_writer  # noqa: F401  before any folder is made
        self.place = f"{place} for TensorBoard"
        self._folder = folder
        folders = folder.iterdir() if folder.exists() else ()
        self._known = {path.name.rpartition("-")[2]: path for path in folders if path.is_dir()}

    def push(self, content: Content) -> str:
        """Writes or rewrites the folder of a record; `new`, `changed` or `same`. What an earlier call left half done is
        done again."""
        known = self._known.get(content.key[:LONGEST_KEY])
        folder = self._known.setdefault(content.key[:LONGEST_KEY], self._folder / folder_name(content))
        ending, record = content.digest[:LONGEST_KEY], folder / FILE
        whole = record.is_file() and record.read_bytes() == content.whole.encode()
        if whole and any(folder.glob(f"events.out.tfevents.*.{ending}")):
            return "same"
        events = folder / f"events.out.tfevents.{content.ended.timestamp():.0f}.{ending}"
        with writing(events) as file:
            file.write(_encoded(content))
        for other in folder.glob("*tfevents*"):  # those of an earlier state of the record, and half-written ones
            if other != events:
                other.unlink()
        with writing(record) as file:
            file.write(content.whole.encode())
        return "new" if known is None else "changed"


def folder_name(content: Content) -> str:
    """The name of a record's folder, which TensorBoard shows: plain characters only, since names are untrusted."""
    plain = _FORBIDDEN.sub("_", content.name)[:LONGEST_NAME].strip("._-")
    return f"{plain}-{content.key[:LONGEST_KEY]}"


def _encoded(content: Content) -> bytes:
    """The bytes of an event file: what was set, as hyper-parameters; every metric, as a scalar at step 0; tags, as a
    text."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    values = [*_hyper_parameters(content), _text(content)]
    values += [Summary.Value(tag=name, simple_value=float(value)) for name, value in content.metrics.items()]
    file, time = io.BytesIO(), content.ended.timestamp()
    writer = RecordWriter(file)
    writer.write(Event(wall_time=time, file_version="brain.Event:2").SerializeToString())
    for value in values:
        writer.write(Event(wall_time=time, step=0, summary=Summary(value=[value])).SerializeToString())
    return file.getvalue()


def _hyper_parameters(content: Content) -> Iterator[Any]:  # Any: tensorboard has no types here
    """The summaries that TensorBoard's table of runs is made of: the start of a session, and its end with a status."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

    ended = content.ended.timestamp()
    start = SessionStartInfo(start_time_secs=ended - content.seconds, group_name=content.key)
    for name, value in {**content.identity, **content.params}.items():
        field = (
            "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "number_value"
        )
        setattr(start.hparams[name], field, value)
    statuses = {"ok": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE}
    end = SessionEndInfo(status=statuses.get(content.status, api_pb2.STATUS_UNKNOWN), end_time_secs=ended)
    for tag, data in (
        (metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
        (metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
    ):
        described = metadata.create_summary_metadata(data)
        yield Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)


def _text(content: Content) -> Any:  # Any: tensorboard has no types here
    """The tags as a block of code, in which nothing is markup: names are untrusted."""
    from tensorboard.plugins.text.summary_v2 import text_pb

    lines = [f"{name}: {text}" for name, text in {**content.identity, **content.tags}.items()]
    block = "\n".join(f"    {part}" for line in lines for part in line.splitlines())
    return text_pb("record", block).value[0]
