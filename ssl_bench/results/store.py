"""Where records are kept: one immutable file each, whole or not there at all.

    ROOT/records/<name>/<evaluation>/<key>.json      the record
    ROOT/records/<name>/<evaluation>/<key>.2.json    a later run that gave another value

A record is written beside its place, flushed to the disk and then linked to its name;
linking never replaces a file, so of several writers of one key the first wins and
nobody sees half a record. What is not a record's name (leading dot, other ending) is
never looked at.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_bench.errors import RecordError
from ssl_bench.results.record import Metric, Record
from ssl_bench.results.schema import is_plain_name, parse_record, safe_name

_FILE = re.compile(r"(?P<key>[0-9a-f]{32})(\.(?P<run>[1-9][0-9]*))?\.json")
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Rerun:
    """Hold what a second run of a finished key found out.

    Attributes:
        path: the file that keeps the second run.
        differences: one sentence per metric that differs from the first run.
    """

    path: Path
    differences: tuple[str, ...]


class RecordStore:
    """Keep records below one folder, append-only.

    Attributes:
        root: the results folder (``--results``); records are in ``root/records``.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.folder = self.root / "records"

    def find(
        self, key: str, *, name: str | None = None, evaluation: str | None = None
    ) -> Record | None:
        """Return the first record of a key, or None.

        Args:
            key: `Record.key`.
            name: the model's name; None looks under every model.
            evaluation: protocol and data set; None looks under every evaluation.

        Raises:
            RecordError: when the file is there and damaged.
        """
        file = f"{_hex(key)}.json"
        model = "*" if name is None else safe_name(name)
        for folder in sorted(self.folder.glob(f"{model}/{_plain(evaluation)}")):
            path = folder / file
            if path.is_file():
                return read_record(path)
        return None

    def add(self, record: Record) -> Path:
        """File a record under its key.

        A record of the same key that is there already stays. If its values are the
        same, nothing is written; otherwise the new one is kept beside it as a rerun.

        Returns:
            The file that holds the values of ``record``.

        Raises:
            RecordError: when the record is not valid or cannot be written.
        """
        path = self._path(record)
        if _create(path, record):
            return path
        rerun = self._keep_if_different(record)
        return rerun.path if rerun else path

    def add_rerun(self, record: Record) -> Rerun | None:
        """File a run of a key that may have been finished before.

        Returns:
            None when the values equal those of the first record (nothing is kept) or
            when there was none (it is filed as the first); otherwise where this run is
            kept and how it differs.

        Raises:
            RecordError: when the record is not valid or cannot be written.
        """
        if _create(self._path(record), record):
            return None
        return self._keep_if_different(record)

    def all(self, *, strict: bool = True) -> Iterator[Record]:
        """Yield every record, sorted by model, evaluation, key and run.

        Args:
            strict: raise once all good records have been yielded; False leaves damaged
                files out, and `read_all` returns the complaints about them.

        Raises:
            RecordError: naming every damaged file.
        """
        records, complaints = self.read_all()
        yield from records
        if strict and complaints:
            raise RecordError("; ".join(complaints))

    def read_all(self) -> tuple[list[Record], list[str]]:
        """Return all good records and one complaint per damaged file."""
        records, complaints = [], []
        for path in self._files():
            try:
                record = read_record(path)
                _in_its_place(path, record)
            except RecordError as error:
                complaints.append(str(error))
            else:
                records.append(record)
        return records, complaints

    def _files(self) -> list[Path]:
        paths = [p for p in self.folder.glob("*/*/*.json") if _FILE.fullmatch(p.name)]
        return sorted(paths, key=lambda p: (p.parts[-3], p.parts[-2], _run(p)))

    def _path(self, record: Record) -> Path:
        """Return the place of a record that has been checked to be readable again."""
        parse_record(record.to_json(), f"the new record of {record.name!r}")
        folder = self.folder / safe_name(record.name) / record.evaluation
        return folder / f"{record.key}.json"

    def _keep_if_different(self, record: Record) -> Rerun | None:
        first = self._path(record)
        differences = _differing_from_file(first, record)
        if not differences:
            return None
        run = 2
        while True:
            path = first.with_name(f"{record.key}.{run}.json")
            if _create(path, record) or not _differing_from_file(path, record):
                return Rerun(path, differences)
            run += 1


def read_record(path: Path) -> Record:
    """Read one record file.

    Raises:
        RecordError: naming the file when it is missing, no JSON, or no valid record.
    """
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{path} is damaged, it is not JSON ({error}); restore it, or remove it "
            "and run the evaluation again"
        ) from error
    return parse_record(payload, str(path))


def differing(first: Record, second: Record) -> tuple[str, ...]:
    """Return one sentence per metric whose numbers differ between two runs."""
    names = dict.fromkeys(m.name for m in (*first.metrics, *second.metrics))
    sentences = []
    for name in names:
        was, now = first.metric(name), second.metric(name)
        if _numbers(was) != _numbers(now):
            sentences.append(_sentence(name, was, now))
    return tuple(sentences)


def _differing_from_file(path: Path, record: Record) -> tuple[str, ...]:
    """Compare with a file; one that cannot be read must not cost the new record."""
    try:
        return differing(read_record(path), record)
    except RecordError as error:
        return (f"the earlier record cannot be read: {error}",)


def _numbers(metric: Metric | None) -> tuple[Any, ...] | None:
    if metric is None:
        return None
    return (metric.value, metric.values, metric.unit, metric.split, metric.count)


def _sentence(name: str, was: Metric | None, now: Metric | None) -> str:
    if was is None or now is None:
        return f"{name} was {_number(was)}, is {_number(now)}"
    if was.value != now.value:
        change = f"{now.value - was.value:+.3g}"
        return f"{name} was {_number(was)}, is {_number(now)} ({change})"
    return f"{name}: the same {_number(now)}, but of other repetitions or images"


def _number(metric: Metric | None) -> str:
    return "absent" if metric is None else repr(metric.value)


def _create(path: Path, record: Record) -> bool:
    """Write a record to a name that is free; False when it is taken.

    Raises:
        RecordError: with the path and the reason; nothing is left behind.
    """
    text = json.dumps(record.to_json(), indent=2, sort_keys=True, ensure_ascii=False)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            created = _link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        if created:
            _sync(path.parent)
    except OSError as error:
        raise RecordError(
            f"cannot write the record {path}: {error.strerror or error}. "
            f"{_remedy(error)}"
        ) from error
    return created


def _link(temporary: Path, path: Path) -> bool:
    """Give a finished file its name unless the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename_under_lock(temporary, path)
    return True


def _rename_under_lock(temporary: Path, path: Path) -> bool:
    """Do the same where the file system knows no hard links (exFAT, some shares)."""
    with path.with_name(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return False
        temporary.replace(path)
        return True


def _sync(folder: Path) -> None:
    """Flush a folder's list of names to the disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)


def _remedy(error: OSError) -> str:
    if error.errno in _FULL:
        return "Free some space, or choose another folder with --results"
    return "Choose a folder that can be written with --results"


def _run(path: Path) -> tuple[str, int]:
    """Return the key and the number of the run that a record file's name says."""
    key, _, run = path.stem.partition(".")
    return key, int(run or 1)


def _in_its_place(path: Path, record: Record) -> None:
    """Refuse a record that lies under another model, evaluation or key."""
    where = (safe_name(record.name), record.evaluation)
    key = json.loads(path.read_text(encoding="utf-8"))["key"]
    if (path.parts[-3], path.parts[-2]) != where or _run(path)[0] != key:
        raise RecordError(
            f"{path} is the record of {'/'.join(where)}/{key}.json; move it there"
        )


def _hex(key: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", key):
        raise RecordError(f"{key!r} is no record key; a key has 32 hex digits")
    return key


def _plain(evaluation: str | None) -> str:
    if evaluation is None:
        return "*"
    if not is_plain_name(evaluation):
        raise RecordError(
            f"the evaluation {evaluation!r} is no plain name; it may hold letters, "
            "digits and ._+- only"
        )
    return evaluation
