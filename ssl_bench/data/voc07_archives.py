"""Fetch the archives of VOC 2007 and unpack them, whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ssl_bench.data.voc07 import YEAR
from ssl_bench.data.voc07_check import ARCHIVE_OF
from ssl_bench.errors import DataError
from ssl_bench.files import atomic_write
from ssl_bench.progress import note, progress

BASE_URL = "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/"
TOP = "VOCdevkit"

# Source: torchvision.datasets.voc. Plain http proves nothing, these sums do. The third
# archive, VOCdevkit_08-Jun-2007.tar, is MATLAB code: no protocol needs it.
ARCHIVES: Mapping[str, str] = {
    ARCHIVE_OF["trainval"]: "c52e279531787c972589f7e41ab4ae64",
    ARCHIVE_OF["test"]: "b6e924de25625d8de591ea690078ad9f",
}

_CHUNK = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte


def folder_above(root: Path) -> Path:
    """Return the folder that gets ``VOCdevkit/``.

    Args:
        root: that folder, the ``VOCdevkit`` in it, or the ``VOC2007`` in this one.

    Raises:
        DataError: for a ``VOC2007`` that lies in no ``VOCdevkit``.
    """
    root = root.expanduser().absolute()
    if root.name == TOP:
        return root.parent
    if root.name == YEAR or (root / "ImageSets").is_dir():
        if root.parent.name == TOP:
            return root.parent.parent
        raise DataError(
            f"{root} lies in no folder {TOP}, which the archives unpack into; name the "
            f"folder that shall get {TOP}/"
        )
    return root


def download(
    folder: Path, base_url: str = BASE_URL, archives: Mapping[str, str] = ARCHIVES
) -> list[Path]:
    """Fetch archives; one that is there already is kept.

    Args:
        folder: where they are put.
        base_url: what their names are appended to.
        archives: md5 sum by name.

    Returns:
        The archives, complete.

    Raises:
        DataError: when one cannot be fetched or is not the official file.
        BenchError: when the folder cannot be written.
    """
    return [
        _fetched(folder / name, base_url + name, md5) for name, md5 in archives.items()
    ]


def unpack(archives: Sequence[Path], root: Path) -> None:
    """Unpack tar files below ``VOCdevkit/``, all of them or none.

    Where two archives have a file of one name, the later one counts. A file that is
    there already with its size is kept; one of another size is an error.

    Args:
        archives: uncompressed tar files.
        root: as for `folder_above`.

    Raises:
        DataError: for an archive that is damaged or has anything but files and folders
            below ``VOCdevkit/``, for too little space, and for files in the way.
    """
    target = folder_above(root) / TOP
    plans = [(path, _members(path)) for path in archives]
    wanted = {name: size for _, members in plans for name, size in members.items()}
    if not wanted:
        return
    _refuse_others(target, wanted)
    missing = {name for name in wanted if not (target / name).exists()}
    if not missing:
        note(f"every file of the archives is in {target} already")
        return
    try:
        _unpack(plans, target, missing)
    except tarfile.TarError as error:
        raise DataError(f"an archive is damaged: {error}; fetch it again") from error
    except OSError as error:
        raise DataError(
            f"cannot unpack into {target}: {error.strerror or error}; give a folder "
            "that is writable, or restore its permissions"
        ) from error


def _fetched(path: Path, url: str, md5: str) -> Path:
    if path.exists():
        if (found := _md5(path)) != md5:
            raise DataError(
                f"{path} is not the official file: its md5 sum is {found} and not "
                f"{md5}; remove it and run again"
            )
        return path
    note(f"fetching {url}")
    with atomic_write(path) as temporary:
        try:
            _get(url, temporary, path.name)
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
        ) as error:
            # Inside: to atomic_write it would be an error of the disk.
            raise _unfetched(url, str(error)) from error
        if (found := _md5(temporary)) != md5:
            raise _unfetched(url, f"its md5 sum is {found} and not {md5}")
    return path


def _get(url: str, path: Path, name: str) -> None:
    done = 0
    with (
        urllib.request.urlopen(url, timeout=_TIMEOUT) as answer,
        path.open("wb") as file,
    ):
        total = int(answer.headers.get("Content-Length") or 0)
        with progress(name, -(-total // _CHUNK), unit="MiB") as advance:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if total:
                    advance(1)
    if total and done != total:
        raise _unfetched(url, f"it ended after {done} of {total} bytes")


def _unfetched(url: str, reason: str) -> DataError:
    return DataError(
        f"cannot fetch {url}: {reason or 'no answer'}; run again later, or fetch it "
        "elsewhere and pass it with --archives"
    )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()


def _members(path: Path) -> dict[str, int]:
    """Return the size of every file of an archive, by its path below ``VOCdevkit/``.

    Raises:
        DataError: naming the archive and the member, for anything else in it.
    """
    found: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                inside = _inside(path, member)
                if member.isfile():
                    found[inside] = member.size
            if archive.fileobj is not None:
                archive.fileobj.seek(archive.offset)
                end = archive.fileobj.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}; name an archive of VOC "
            f"2007, such as {ARCHIVE_OF['test']}"
        ) from error
    except tarfile.TarError as error:
        raise DataError(
            f"{path} is no whole tar file: {error}; fetch it again, and unpack a .gz "
            "first"
        ) from error
    if end != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"{path} is cut off: it has no end mark; fetch it again")
    return found


def _inside(path: Path, member: tarfile.TarInfo) -> str:
    parts = PurePosixPath(member.name).parts
    reason = ""
    if member.name.startswith("/"):
        reason = "has an absolute path"
    elif ".." in parts:
        reason = "leaves its folder with '..'"
    elif parts[:1] != (TOP,) or "\0" in member.name:
        reason = f"is not below {TOP}/"
    elif member.issym() or member.islnk():
        reason = "is a link"
    elif not (member.isdir() or member.isfile()) or member.issparse():
        reason = "is neither a plain file nor a folder"
    elif member.isfile() and len(parts) == 1:
        reason = "is a file and must be a folder"
    if reason:
        raise DataError(
            f"{path}: {member.name!r} {reason}; nothing was unpacked; take the "
            f"official archives, of {BASE_URL}"
        )
    return "/".join(parts[1:])


def _refuse_others(target: Path, wanted: Mapping[str, int]) -> None:
    others = [
        name
        for name, size in wanted.items()
        if os.path.lexists(target / name)
        and not ((target / name).is_file() and (target / name).stat().st_size == size)
    ]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise DataError(
            f"{target} has {len(others)} files of other sizes than the archives: "
            f"{', '.join(others[:3])}{more}; nothing was unpacked; move them away and "
            "run again"
        )


def _unpack(
    plans: Sequence[tuple[Path, Mapping[str, int]]], target: Path, missing: set[str]
) -> None:
    """Write the missing files beside ``target``, then rename them into their places."""
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    bytes_needed = sum(
        size for _, members in plans for n, size in members.items() if n in missing
    )
    free = shutil.disk_usage(target.parent).free
    if bytes_needed > free:
        raise DataError(
            f"{target.parent} has {free >> 20} MiB free and the archives need "
            f"{bytes_needed >> 20} MiB; free some, or choose another disk"
        )
    beside = target.with_name(f".{TOP}.{secrets.token_hex(4)}.partial")
    try:
        beside.mkdir()
        for path, members in plans:
            _extract(path, beside, missing & set(members))
        os.sync()  # once: some thirty thousand files are slow to flush one by one
        if target.exists():
            _merge(beside, target, missing)
        else:
            beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _extract(path: Path, folder: Path, wanted: set[str]) -> None:
    with (
        tarfile.open(path, "r:") as archive,
        progress(path.name, len(wanted), unit="file") as advance,
    ):
        for member in archive:
            name = _inside(path, member)
            source = archive.extractfile(member) if name in wanted else None
            if source is None:
                continue
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with source, place.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
            advance(1)


def _merge(beside: Path, target: Path, names: set[str]) -> None:
    """Move files into a folder that is there; if one fails, take the others back."""
    moved: list[Path] = []
    try:
        for name in sorted(names):
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            (beside / name).rename(place)
            moved.append(place)
    except BaseException:
        for place in moved:
            place.unlink(missing_ok=True)
        raise
