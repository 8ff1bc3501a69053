"""digit-scenes as a whole: same bytes, whole or not at all, refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ssl_bench.data import scene_layouts, scenes
from ssl_bench.data.scenes import SceneCounts
from ssl_bench.errors import DataError

FEW = SceneCounts(
    imagenet_train=20,
    imagenet_val=10,
    voc_trainval=6,
    voc_test=4,
    coco_train=4,
    coco_val=2,
)


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "few"
    scenes.generate(root, seed=5, counts=FEW)
    return root


def test_the_same_seed_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    scenes.generate(tmp_path / "again", seed=5, counts=FEW)
    assert digest(tmp_path / "again") == digest(made)


def test_another_seed_gives_other_pictures(made: Path, tmp_path: Path) -> None:
    scenes.generate(tmp_path / "other", seed=6, counts=FEW)
    ours, theirs = digest(made), digest(tmp_path / "other")
    pictures = [name for name in ours if name.endswith((".jpg", ".JPEG"))]
    assert len(pictures) == 46
    assert all(ours[name] != theirs.get(name) for name in pictures)


def test_a_picture_does_not_depend_on_how_many_others_there_are(
    made: Path, tmp_path: Path
) -> None:
    fewer = SceneCounts(
        imagenet_train=10,
        imagenet_val=3,
        voc_trainval=3,
        voc_test=1,
        coco_train=1,
        coco_val=1,
    )
    scenes.generate(tmp_path / "fewer", seed=5, counts=fewer)
    ours, theirs = digest(made), digest(tmp_path / "fewer")
    kinds = (".jpg", ".JPEG", ".xml", ".png")
    same = [name for name in theirs if name.endswith(kinds)]
    assert len(same) == 10 + 3 + 4 * (3 + 1) + 2
    assert all(theirs[name] == ours[name] for name in same)


def test_a_style_alone_is_the_same_as_among_others(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "one by one"
    for style in ("coco", "voc", "imagenet"):
        scenes.generate(root, seed=5, counts=FEW, styles=(style,))
        assert (root / scenes.FOLDERS[style]).is_dir()
    assert digest(root) == digest(made)


def test_what_is_there_already_is_left_alone(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    scenes.generate(made, seed=5, counts=FEW, styles=("imagenet", "coco"))
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_counts_of_another_style_do_not_matter(made: Path) -> None:
    counts = SceneCounts(imagenet_train=20, imagenet_val=10, voc_test=99)
    scenes.generate(made, seed=5, counts=counts, styles=("imagenet",))


def test_progress_counts_every_picture_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    scenes.generate(
        tmp_path / "s",
        seed=1,
        counts=FEW,
        styles=("coco",),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(number, 6) for number in range(1, 7)]


def test_other_scenes_in_the_folder_are_refused(made: Path) -> None:
    with pytest.raises(DataError, match=r"seed is 5 and not 7.*remove .*imagenet"):
        scenes.generate(made, seed=7, counts=FEW)
    with pytest.raises(
        DataError, match=r"'imagenet_train': 20.*'imagenet_train': 6000"
    ):
        scenes.generate(made, seed=5)


def test_scenes_of_another_version_are_refused(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "VERSION", scenes.VERSION + 1)
    with pytest.raises(DataError, match="version is 1 and not 2"):
        scenes.generate(made, seed=5, counts=FEW)


def test_a_folder_of_somebody_else_is_refused_and_kept(tmp_path: Path) -> None:
    mine = tmp_path / "data/imagenet/meta/train.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("a/b.JPEG 0\n")
    with pytest.raises(DataError, match="was not made by digit-scenes"):
        scenes.generate(tmp_path / "data", seed=0, counts=FEW)
    assert mine.read_text() == "a/b.JPEG 0\n"
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["imagenet"]


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "s/coco"
    folder.mkdir(parents=True)
    for text in ("{", "[1]", '"x"'):
        (folder / scenes.MANIFEST).write_text(text)
        with pytest.raises(DataError, match="choose another folder"):
            scenes.generate(tmp_path / "s", seed=0, counts=FEW, styles=("coco",))


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("")
    with pytest.raises(DataError, match="is a file"):
        scenes.generate(tmp_path / "s", seed=0, counts=FEW)


@pytest.mark.parametrize("root_exists", [False, True])
def test_an_interrupted_run_leaves_nothing_behind(
    tmp_path: Path, root_exists: bool
) -> None:
    root = tmp_path / "s"
    if root_exists:
        root.mkdir()

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scenes.generate(root, seed=0, counts=FEW, styles=("coco",), progress=stop)
    assert [p for p in tmp_path.rglob("*") if p != root] == []
    scenes.generate(root, seed=0, counts=FEW, styles=("coco",))
    assert (root / "coco/annotations/instances_val2017.json").is_file()


def test_nothing_shows_under_its_name_before_it_is_complete(tmp_path: Path) -> None:
    root = tmp_path / "s"

    def look(done: int, total: int) -> None:
        assert not root.exists()

    scenes.generate(root, seed=0, counts=FEW, styles=("coco",), progress=look)
    assert root.is_dir()


def test_a_run_that_another_process_outran_keeps_the_other_folder(
    tmp_path: Path,
) -> None:
    root = tmp_path / "s"

    def outrun(done: int, total: int) -> None:
        if done == 1:
            scenes.generate(root, seed=0, counts=FEW, styles=("coco",))
            (root / "coco/theirs").write_text("")

    scenes.generate(root, seed=0, counts=FEW, styles=("coco",), progress=outrun)
    assert (root / "coco/theirs").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_a_disk_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scene_layouts, "_save_jpeg", full)
    with pytest.raises(DataError, match="No space left on device; choose a folder"):
        scenes.generate(tmp_path / "s", seed=0, counts=FEW)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'vco'. Did you mean 'voc'"):
        scenes.generate(tmp_path / "s", seed=0, styles=("vco",))
    with pytest.raises(DataError, match="seed -1"):
        scenes.generate(tmp_path / "s", seed=-1)
    with pytest.raises(DataError, match="voc_test of digit-scenes is -2"):
        scenes.generate(tmp_path / "s", seed=0, counts=SceneCounts(voc_test=-2))
    assert list(tmp_path.iterdir()) == []


def test_each_style_says_what_it_was_made_from(made: Path) -> None:
    text = (made / "VOCdevkit" / scenes.MANIFEST).read_text()
    assert json.loads(text) == {
        "dataset": "digit-scenes",
        "style": "voc",
        "version": scenes.VERSION,
        "seed": 5,
        "counts": {"voc_trainval": 6, "voc_test": 4},
    }
