"""The planned records of a results folder or URL: predictions, where reports find them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.files import check_writable, local_folder, writing
from tunefront.bench.records.index import content_of, read_contents
from tunefront.bench.records.io import CorruptRecord, parse_record, read_record
from tunefront.bench.records.record import Record
from tunefront.bench.records.urls import UrlFolder

PLANS = "plans"


class Plans:
    """The plans in the results folder or URL OUT; UserError if they cannot be written. A local folder is not made
    yet."""

    def __init__(self, out: str):
        results = local_folder(out)
        self._folder = None if results is None else results / PLANS
        self._remote = UrlFolder(out)
        if self._folder is not None:
            _check(self._folder, out)
        else:
            self._remote.prepare((PLANS,))

    @property
    def location(self) -> str:
        """The folder or URL of the plans."""
        return self._remote / PLANS if self._folder is None else str(self._folder)

    def keep(self, records: Iterable[Record]) -> None:
        """Writes the planned ones of these records.

        The first prediction stays. A plan with the same key (code, data and settings) is overwritten only if it is
        unreadable, is for synthetic rows (whose key covers no code), or lacks seconds while its cell has not run yet.
        Errors: UserError if a plan is unreadable since another version wrote it.
        """
        planned = {f"{record.key}.json": record for record in records if record.status == "planned"}
        known = {name: plan for name, plan in self._known(planned).items() if plan.fingerprints}
        lack = [name for name, plan in known.items() if plan.seconds.eval is None]
        timed = {name for name in lack if planned[name].seconds.eval is not None}
        stay = (known.keys() - timed) | self._ran(timed)
        new = {name: record for name, record in planned.items() if name not in stay}
        self._write({name: record.model_dump_json(indent=1).encode() for name, record in new.items()})

    def put(self, name: str, content: bytes) -> str:
        """Writes a file beside the plans; returns where it is."""
        self._write({name: content})
        return f"{self.location}/{name}"

    def _known(self, names: Collection[str]) -> dict[str, Record]:
        """The readable plans of these names. OtherVersion if another version of tunefront wrote one."""
        known: dict[str, Record] = {}
        if self._folder is not None:
            for name in names:
                with suppress(FileNotFoundError, CorruptRecord):
                    known[name] = read_record(self._folder / name)
            return known
        for name, content in read_contents(self._remote, PLANS, names):
            path = self._remote / f"{PLANS}/{name}"
            with suppress(FileNotFoundError, CorruptRecord):
                known[name] = parse_record(content_of(path, content), path)
        return known

    def _ran(self, names: Collection[str]) -> set[str]:
        """Those of these plans whose cells have a record."""
        if self._folder is None:
            return self._remote.listing("records").keys() & names if names else set()
        return {name for name in names if (self._folder.parent / "records" / name).exists()}

    def _write(self, contents: dict[str, bytes]) -> None:
        if self._folder is None:
            self._remote.write({f"{PLANS}/{name}": content for name, content in contents.items()})
            return
        for name, content in contents.items():
            with writing(self._folder / name) as file:
                file.write(content)


def _check(folder: Path, out: str) -> None:
    """UserError if a local folder for plans is not writable; it is not made."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        check_writable(folder / f"{uuid.uuid4().hex}.json")
    except UserError as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise UserError(f"cannot save plans in {out} ({why}); choose another --out.") from error
    finally:
        for path in new:  # a later error in the call must leave no folder behind
            with suppress(OSError):
                path.rmdir()
