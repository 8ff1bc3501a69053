"""The check of a copy of VOC 2007, and how archives become one."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ssl_bench.data import voc07_archives
from ssl_bench.data.voc07 import Figures
from ssl_bench.data.voc07_check import check, read_annotation, render
from ssl_bench.errors import BenchError, DataError
from tests.data.fake_devkit import write_annotation, write_devkit

TOOL = Path(__file__).parents[2] / "tools" / "prepare_voc07.py"
FIGURES = Figures(
    images={"trainval": 3, "test": 2},
    positives={"trainval": {"sheep": 1}, "test": {"bus": 1, "cow": 0, "sheep": 1}},
    ignored={"test": 1},
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return write_devkit(tmp_path)


def states(text: str) -> dict[str, tuple[str, str]]:
    """Return (expected, found) of the lines of a table that are marked as wrong."""
    rows = re.findall(r"^WRONG +(\S.*?) {2,}(\S+) +(\S+)$", text, re.MULTILINE)
    return {what: (expected, found) for what, expected, found in rows}


def test_a_complete_copy(home: Path) -> None:
    for root in (home, home.parent, home.parents[1]):
        report = check(root, FIGURES)
        assert report.complete
        assert report.root == home
    text = render(report)
    assert states(text) == {}
    assert "complete" in text
    assert "to do" not in text


def test_every_figure_that_deviates_is_listed(home: Path) -> None:
    text = render(check(home.parent))

    assert states(text) == {
        "trainval images": ("5011", "3"),
        "trainval positives of sheep": ("96", "1"),
        "test images": ("4952", "2"),
        "test classes with the known positives": ("20", "0"),
        "test ignored entries": ("619", "1"),
    }
    plain = " ".join(text.split())
    for deviation in (
        "sheep 1 (not 96)",
        "bus 1 (not 174)",
        "cow 0 (not 127)",
        "sheep 1 (not 97)",
        "aeroplane not there",
        "tvmonitor not there",
    ):
        assert deviation in plain
    assert plain.count("not there") == 17  # of 20 classes the copy has three
    for name in ("VOCtrainval_06-Nov-2007.tar", "VOCtest_06-Nov-2007.tar"):
        assert f"unpack {name} again" in text
    assert len(text.splitlines()) < 40


def test_missing_images_and_disagreeing_annotations(home: Path) -> None:
    (home / "JPEGImages" / "000002.jpg").unlink()
    (home / "Annotations" / "000007.xml").unlink()
    write_annotation(home, "000009", {"cow": "0", "pig": "1"})
    write_annotation(home, "000001", {"cow": "1", "bus": "0", "sheep": "1"})

    text = render(check(home, FIGURES))

    assert states(text) == {
        "trainval annotations that agree": ("3", "1"),
        "test image files": ("2", "1"),
        "test annotations that agree": ("2", "1"),
    }
    plain = " ".join(text.split())
    assert "000002.jpg missing" in plain
    assert "000007.xml: No such file" in plain
    assert "000009: its annotation has objects of no class: pig" in plain
    assert "000001: bus there by the list, difficult only by the annotation" in plain
    assert "000001: cow not there by the list, there by the annotation" in plain


def test_one_plain_object_makes_a_class_positive(home: Path) -> None:
    path = home / "Annotations" / "000005.xml"
    path.write_text(
        "<annotation><object><name>cow</name><difficult>1</difficult></object>"
        "<object><name>cow</name></object>"
        "<object><name>bus</name><difficult>1</difficult></object></annotation>"
    )

    assert read_annotation(path) == {"cow": 1, "bus": -1}


def test_lists_that_cannot_be_read_do_not_end_the_check(home: Path) -> None:
    (home / "ImageSets/Main/cow_trainval.txt").write_text("000005 7\n")

    text = render(check(home, FIGURES))

    assert states(text) == {"trainval lists": ("readable", "not")}
    assert "the label '7'" in text
    assert re.search("^ok +test images +2 +2$", text, re.MULTILINE)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no VOC 2007 in .*--archives .*--download"):
        check(tmp_path)


BOMB = '<!DOCTYPE a [<!ENTITY b "cc">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "has <!DOCTYPE"),
        (b'<!entity b "c"><annotation/>', "has <!ENTITY"),
        (BOMB.encode("utf-16"), "is no XML in UTF-8"),
        (b"<annotation>", "is no XML in UTF-8"),
        (b"", "is no XML in UTF-8"),
        (b"<annotation/>" + b" " * (1 << 20), "too many for an annotation"),
    ],
)
def test_xml_that_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(content)

    with pytest.raises(DataError, match=message):
        read_annotation(path)


# ----------------------------------------------------------------------------- unpack


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    info.linkname = "target"
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


def tar_of(path: Path, files: Mapping[str, bytes]) -> Path:
    parts = [member("VOCdevkit/", kind=tarfile.DIRTYPE)]
    parts += [member(f"VOCdevkit/{name}", content) for name, content in files.items()]
    path.write_bytes(b"".join(parts) + bytes(1024))
    return path


def devkit_tar(home: Path, path: Path, wanted: Callable[[str], bool]) -> Path:
    files = {
        str(p.relative_to(home.parent)): p.read_bytes()
        for p in sorted(home.rglob("*"))
        if p.is_file() and wanted(p.name)
    }
    return tar_of(path, files)


def contents(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.mark.parametrize("given", [".", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_two_archives_make_a_complete_copy(
    home: Path, tmp_path: Path, given: str
) -> None:
    def of_test(name: str) -> bool:
        return "test" in name or name[:6] in ("000001", "000002")

    parts = [
        devkit_tar(home, tmp_path / "one.tar", lambda name: not of_test(name)),
        devkit_tar(home, tmp_path / "two.tar", of_test),
    ]
    root = tmp_path / "new"

    voc07_archives.unpack(parts, root / given)

    assert contents(root / "VOCdevkit") == contents(home.parent)
    assert [p.name for p in root.iterdir()] == ["VOCdevkit"]
    assert check(root / given, FIGURES).complete
    voc07_archives.unpack(parts, root / given)  # nothing to do the second time


def test_files_of_the_same_size_are_kept_and_missing_ones_added(
    tmp_path: Path,
) -> None:
    here = tmp_path / "VOCdevkit" / "VOC2007"
    here.mkdir(parents=True)
    (here / "mine.txt").write_text("mine")
    (here / "same.txt").write_text("here")
    path = tar_of(
        tmp_path / "a.tar", {"VOC2007/same.txt": b"tar!", "VOC2007/a/new": b"new"}
    )

    voc07_archives.unpack([path], tmp_path)

    assert contents(here) == {"mine.txt": b"mine", "same.txt": b"here", "a/new": b"new"}


def test_the_later_archive_counts(tmp_path: Path) -> None:
    paths = [
        tar_of(tmp_path / name, {"both": text, name: b"own"})
        for name, text in (("1.tar", b"first"), ("2.tar", b"second"))
    ]

    voc07_archives.unpack(paths, tmp_path / "out")

    assert contents(tmp_path / "out/VOCdevkit") == {
        "both": b"second",
        "1.tar": b"own",
        "2.tar": b"own",
    }


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (member("/VOCdevkit/a", b"x"), "'/VOCdevkit/a' has an absolute path"),
        (member("VOCdevkit/../a", b"x"), r"leaves its folder with '\.\.'"),
        (member("../VOCdevkit/a", b"x"), r"leaves its folder with '\.\.'"),
        (member("other/a", b"x"), "'other/a' is not below VOCdevkit/"),
        (member("VOCdevkitten/a", b"x"), "is not below VOCdevkit/"),
        (member("VOCdevkit", b"x"), "is a file and must be a folder"),
        (member("VOCdevkit/a", kind=tarfile.SYMTYPE), "'VOCdevkit/a' is a link"),
        (member("VOCdevkit/a", kind=tarfile.LNKTYPE), "'VOCdevkit/a' is a link"),
        (member("VOCdevkit/a", kind=tarfile.FIFOTYPE), "neither a plain file nor"),
        (member("VOCdevkit/a", kind=tarfile.CHRTYPE), "neither a plain file nor"),
    ],
)
def test_what_an_archive_may_not_hold(tmp_path: Path, bad: bytes, message: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(member("VOCdevkit/good", b"x") + bad + bytes(1024))

    with pytest.raises(DataError, match=message) as caught:
        voc07_archives.unpack([path], tmp_path / "out")

    assert str(path) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_damaged_archives(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "whole.tar", {"a": b"x" * 2000, "b": b"y" * 2000})
    content = whole.read_bytes()
    path = tmp_path / "a.tar"
    # Cut between two members, in a header, in the data, before the end mark.
    for length in (512, 600, 512 + 512 + 700, len(content) - 1024):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.tar.*fetch it again"):
            voc07_archives.unpack([whole, path], tmp_path / "out")
    path.write_bytes(b"no tar at all")
    with pytest.raises(DataError, match=r"a\.tar is no whole tar file"):
        voc07_archives.unpack([path], tmp_path / "out")
    with pytest.raises(DataError, match=r"cannot read .*gone\.tar: No such file"):
        voc07_archives.unpack([tmp_path / "gone.tar"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_size_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit" / "a").write_text("longer")
    path = tar_of(tmp_path / "a.tar", {"a": b"x", "b": b"y"})

    with pytest.raises(DataError, match="1 files of other sizes than the archives: a;"):
        voc07_archives.unpack([path], tmp_path)

    assert contents(tmp_path / "VOCdevkit") == {"a": b"longer"}


def test_a_failure_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit" / "c").write_text("a file, where a folder must be")
    path = tar_of(tmp_path / "a.tar", {"a": b"x", "c/d": b"y"})

    with pytest.raises(DataError, match="cannot unpack into"):
        voc07_archives.unpack([path], tmp_path)

    assert list(contents(tmp_path / "VOCdevkit")) == ["c"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["VOCdevkit", "a.tar"]


def test_too_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar_of(tmp_path / "a.tar", {"a": b"x" * (3 << 20)})
    usage = (10 << 20, 9 << 20, 1 << 20)
    monkeypatch.setattr(
        voc07_archives.shutil,
        "disk_usage",
        lambda place: voc07_archives.shutil._ntuple_diskusage(*usage),
    )

    with pytest.raises(DataError, match="has 1 MiB free and the archives need 3 MiB"):
        voc07_archives.unpack([path], tmp_path / "out")


def test_a_voc2007_outside_a_devkit_is_not_unpacked_into(home: Path) -> None:
    lone = home.rename(home.parents[1] / "VOC2007")

    with pytest.raises(DataError, match="lies in no folder VOCdevkit"):
        voc07_archives.folder_above(lone)


# --------------------------------------------------------------------------- download


class Handler(http.server.SimpleHTTPRequestHandler):
    cut = 0

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.directory) / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - Handler.cut])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "server"
    folder.mkdir()
    tar_of(folder / "a.tar", {"VOC2007/a": b"a"})
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


def served(tmp_path: Path) -> dict[str, str]:
    content = (tmp_path / "server" / "a.tar").read_bytes()
    return {"a.tar": hashlib.md5(content).hexdigest()}


def test_an_archive_is_fetched_once_and_unpacked(server: str, tmp_path: Path) -> None:
    out = tmp_path / "out"

    paths = voc07_archives.download(out, server, served(tmp_path))
    first = paths[0].stat().st_mtime_ns
    again = voc07_archives.download(out, "http://127.0.0.1:1/", served(tmp_path))

    assert paths == again == [out / "a.tar"]
    assert paths[0].stat().st_mtime_ns == first
    voc07_archives.unpack(paths, out)
    assert contents(out / "VOCdevkit") == {"VOC2007/a": b"a"}


def test_downloads_that_fail_leave_nothing(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    wrong = {"a.tar": "0" * 32}
    for base, archives, message in (
        (server, {"b.tar": ""}, r"cannot fetch http.*/b\.tar: .*404"),
        (server, wrong, r"a\.tar: its md5 sum is .* and not 0000.*--archives"),
        ("http://127.0.0.1:1/", wrong, r"a\.tar: .*refused"),
    ):
        with pytest.raises(DataError, match=message):
            voc07_archives.download(out, base, archives)
    monkeypatch.setattr(Handler, "cut", 100)
    with pytest.raises(DataError, match=r"it ended after \d+ of \d+ bytes"):
        voc07_archives.download(out, server, served(tmp_path))
    assert list(out.iterdir()) == []


def test_a_strange_file_under_the_archives_name(server: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.tar").write_bytes(b"mine")

    with pytest.raises(DataError, match=r"a\.tar is not the official file.*remove it"):
        voc07_archives.download(out, server, served(tmp_path))

    assert (out / "a.tar").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BenchError, match=r"cannot write .*a\.tar"):
        voc07_archives.download(tmp_path / "file", server, served(tmp_path))


def test_the_official_archives() -> None:
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    for year in ("2007", "2007-test"):
        entry = DATASET_YEAR_DICT[year]
        assert voc07_archives.ARCHIVES[entry["filename"]] == entry["md5"]
        assert voc07_archives.BASE_URL + entry["filename"] == entry["url"]


# ------------------------------------------------------------------------------- tool


def run_tool(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_tool_unpacks_and_lists_what_is_wrong(home: Path, tmp_path: Path) -> None:
    path = devkit_tar(home, tmp_path / "all.tar", lambda name: True)

    done = run_tool(tmp_path / "out", "--archives", path)

    assert done.returncode == 1
    assert states(done.stdout)["trainval images"] == ("5011", "3")
    assert (tmp_path / "out/VOCdevkit/VOC2007/JPEGImages/000005.jpg").is_file()


def test_the_tool_says_in_one_line_what_it_cannot_do(tmp_path: Path) -> None:
    done = run_tool(tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no VOC 2007 in ")
    assert len(done.stderr.splitlines()) == 1


def test_a_tar_file_of_tarfile_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:  # with pax headers and padding
        info = tarfile.TarInfo("./VOCdevkit/" + "long/" * 60 + "a")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))

    voc07_archives.unpack([path], tmp_path)

    assert list(contents(tmp_path / "VOCdevkit").values()) == [b"abc"]
