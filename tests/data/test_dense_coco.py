"""Data sets in the style of COCO: opening, identity, and every kind of bad input."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ssl_bench.data import dense, scenes
from ssl_bench.data.dense import CocoSplit
from ssl_bench.data.scene_layouts import SceneCounts
from ssl_bench.errors import DataError

# Two images of 40 x 30; the categories are not in the order of their ids.
TRAIN: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "b.jpg", "width": 40, "height": 30},
        {"id": 3, "file_name": "a.jpg", "width": 40, "height": 30},
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 2,
            "bbox": [0, 0, 40, 30],
            "area": 600,
            "iscrowd": 0,
            "segmentation": [[0, 0, 40, 0, 40, 30]],
        },
        {
            "id": 2,
            "image_id": 3,
            "category_id": 5,
            "bbox": [4.5, 5, 10, 10],
            "area": 0.5,
            "iscrowd": 0,
            "segmentation": {"size": [30, 40], "counts": [1199, 1]},
        },
    ],
    "categories": [{"id": 2, "name": "cat"}, {"id": 5, "name": "dog"}],
}


def image(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def write(root: Path, train: Any = None, val: Any = None) -> Path:
    """Write a data set in COCO's own layout."""
    folder = root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in (("train2017", train), ("val2017", val)):
        text = json.dumps(TRAIN if content is None else content)
        (folder / f"instances_{split}.json").write_text(text)
        for name in ("a.jpg", "b.jpg"):
            image(root / split / name)
    return root


def changed(**parts: Any) -> dict[str, Any]:
    """Return the annotations with the first entry of a part changed."""
    content = copy.deepcopy(TRAIN)
    for part, change in parts.items():
        content[part][0] |= change
    return content


def opened(root: Path, name: str = "coco") -> tuple[CocoSplit, CocoSplit]:
    splits = dense.open_splits("detect", name, root, seed=0)
    train, test = splits["train"], splits["test"]
    assert isinstance(train, CocoSplit)
    assert isinstance(test, CocoSplit)
    return train, test


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "coco")


def test_what_is_opened(root: Path) -> None:
    train, test = opened(root)

    assert (train.name, train.split, test.split) == ("coco", "train2017", "val2017")
    assert (len(train), train.classes, test.classes) == (
        2,
        ("cat", "dog"),
        train.classes,
    )
    assert train.image_files() == [root / "train2017/b.jpg", root / "train2017/a.jpg"]
    assert train.annotations == root / "annotations" / "instances_train2017.json"
    assert train.masks
    assert not (train.bundled or train.own)
    assert dense.check(train) == dense.check(test) == []
    assert opened(root.parent)[0] == train
    assert pickle.loads(pickle.dumps(train)).fingerprint() == train.fingerprint()


def test_masks_are_told_of_all_that_is_no_crowd(root: Path) -> None:
    without = changed(annotations={"segmentation": []})
    assert not opened(write(root, without))[0].masks
    crowd = changed(annotations={"segmentation": [], "iscrowd": 1})
    train, test = opened(write(root, crowd))
    assert train.masks
    assert test.masks


def test_a_limit_takes_the_first(root: Path) -> None:
    train = opened(root)[0]

    assert [len(train.limited(n)) for n in (1, 2, 9)] == [1, 2, 2]
    assert train.limited(1).image_files() == [root / "train2017" / "b.jpg"]
    assert len(train.limited(1).limited(2)) == 1
    assert train.limited(9).fingerprint() == train.fingerprint()
    assert train.limited(1).fingerprint() != train.fingerprint()
    with pytest.raises(DataError, match="a limit of 0 images leaves nothing"):
        train.limited(0)


def test_identity_follows_labels_and_files_not_the_place(
    root: Path, tmp_path: Path
) -> None:
    train, test = opened(root)
    before = train.fingerprint()
    assert len(before) == 64
    assert test.fingerprint() != before

    there = tmp_path / "elsewhere"
    shutil.copytree(root, there)
    assert opened(there)[0].fingerprint() == before
    assert opened(there)[0].contents() == train.fingerprint(contents=True) != before

    write(there, changed(annotations={"category_id": 5}))
    assert opened(there)[0].fingerprint() != before
    write(there, changed(categories={"name": "lion"}))
    assert opened(there)[0].fingerprint() != before
    write(there)
    with (there / "train2017" / "a.jpg").open("ab") as file:
        file.write(b"0")
    assert opened(there)[0].fingerprint() != before


def test_contents_follow_bytes(root: Path) -> None:
    train = opened(root)[0]
    before, contents = train.fingerprint(), train.contents()
    path = root / "train2017" / "a.jpg"
    body = bytearray(path.read_bytes())
    body[-3] ^= 1
    path.write_bytes(body)

    assert opened(root)[0].fingerprint() == before
    assert opened(root)[0].contents() != contents


def test_no_identity_without_files(root: Path) -> None:
    (root / "train2017" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"1 files of data set coco .* train2017/a.jpg"):
        opened(root)[0].fingerprint()


# ------------------------------------------------------------------- what is not opened
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": [1,,]}', r"is no JSON: .* in line 1, column 15"),
        ("\xff", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "holds a list; an annotation file is"),
        ('{"images": []}', "has no annotations and no categories; an annotation file"),
        (json.dumps(TRAIN | {"images": {}}), "images of .* is an object"),
        (json.dumps(TRAIN | {"images": []}), "images of .* is empty"),
        (json.dumps(TRAIN | {"categories": [7]}), r"categories\[0\] is a number"),
    ],
)
def test_no_annotation_file(root: Path, text: str, said: str) -> None:
    path = root / "annotations" / "instances_train2017.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=said) as caught:
        opened(root)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("images", {"id": "7"}, r"images\[0\] has '7' as its id; it needs a whole"),
        ("images", {"id": True}, r"images\[0\] has True as its id"),
        ("images", {"width": None}, r"images\[0\] has None as its width"),
        ("images", {"file_name": ""}, r"images\[0\] has '' as its file_name"),
        ("images", {"file_name": "../a.jpg"}, r"images\[0\] names the file '../a.jpg'"),
        ("images", {"file_name": "/etc/passwd"}, "a relative path below the images'"),
        ("images", {"file_name": "C:\\a.jpg"}, "a relative path below the images'"),
        ("annotations", {"image_id": 1.5}, r"annotations\[0\] has 1.5 as its image_id"),
        ("annotations", {"bbox": [1, 2, 3]}, r"\[1, 2, 3\] as its bbox; it needs four"),
        ("annotations", {"bbox": [1, 2, 3, "4"]}, "as its bbox"),
        ("annotations", {"bbox": [1, 2, 3, float("nan")]}, "as its bbox"),
        ("categories", {"id": 5}, "the id 5 stands at several categories"),
        ("categories", {"name": "dog"}, "the name 'dog' stands at several categories"),
    ],
)
def test_an_entry_that_is_wrong(
    root: Path, part: str, change: dict[str, Any], said: str
) -> None:
    write(root, changed(**{part: change}))
    with pytest.raises(DataError, match=said):
        opened(root)


def test_an_entry_without_a_value(root: Path) -> None:
    content = copy.deepcopy(TRAIN)
    del content["annotations"][1]["bbox"]
    write(root, content)
    with pytest.raises(DataError, match=r"annotations\[1\] has no bbox; it needs four"):
        opened(root)


def test_not_there(root: Path, tmp_path: Path) -> None:
    (root / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(DataError, match=r"there is no .*val2017.json; unpack .*zip"):
        opened(root)
    with pytest.raises(
        DataError, match=r"coco is not under .*; expected layout: annot"
    ):
        opened(tmp_path / "coco" / "train2017")


def test_unknown_names() -> None:
    with pytest.raises(
        DataError, match=r"unknown data set for detect 'cocos'. Did you"
    ):
        dense.open_splits("detect", "cocos", None, 0)
    with pytest.raises(DataError, match="unknown kind of labels 'depth'"):
        dense.names("depth")
    assert dense.names("detect") == ["coco", "digit-scenes", "folder", "voc0712"]


# ------------------------------------------------------------------------ what is found
@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("images", {"id": 3}, "1 of 2 images have the id of another, first 3; remove"),
        (
            "images",
            {"file_name": "a.jpg"},
            "1 of 2 images name the file of another, first a.jpg; remove",
        ),
        (
            "images",
            {"file_name": "gone/c.jpg"},
            "1 of 2 images are missing, first gone/c.jpg; put them there",
        ),
        (
            "annotations",
            {"id": 2},
            "1 of 2 annotations have the id of another, first 2",
        ),
        (
            "annotations",
            {"category_id": 9},
            "1 of 2 annotations have a category_id of no category, first id 1 with "
            "category_id 9; correct",
        ),
        (
            "annotations",
            {"image_id": 8},
            "1 of 2 annotations have an image_id of no image, first id 1 with image_id",
        ),
        (
            "annotations",
            {"bbox": [1, 2, 0, 5]},
            "1 of 2 annotations have a box without width or height, first id 1 with "
            "bbox [1.0, 2.0, 0.0, 5.0] in b.jpg of 40 x 30; correct or remove",
        ),
        ("annotations", {"bbox": [9, 9, 4, -5]}, "a box without width or height"),
        (
            "annotations",
            {"bbox": [0, 0, 41.5, 30]},
            "1 of 2 annotations have a box that leaves its image, first id 1 with bbox "
            "[0.0, 0.0, 41.5, 30.0] in b.jpg of 40 x 30",
        ),
        ("annotations", {"bbox": [-1.5, 0, 4, 4]}, "a box that leaves its image"),
        (
            "annotations",
            {"area": 0},
            "1 of 2 annotations have no area above 0, first id 1 with area 0.0; write",
        ),
        (
            "annotations",
            {"area": None},
            "have no area above 0, first id 1 with area nan",
        ),
        ("annotations", {"bbox": [1, 26, 4, 5.5]}, "a box that leaves its image"),
    ],
)
def test_one_problem(root: Path, part: str, change: dict[str, Any], said: str) -> None:
    train = opened(write(root, changed(**{part: change})))[0]
    sentences = dense.check(train)
    assert any(said in sentence for sentence in sentences), sentences
    allowed = 2 if part == "images" and "id" in change else 1
    assert len(sentences) <= allowed


@pytest.mark.parametrize("box", [[-1, 0, 42, 30.9], [0, 0, 0.1, 0.1]])
def test_a_rounded_or_tiny_box_is_none(root: Path, box: list[float]) -> None:
    train = opened(write(root, changed(annotations={"bbox": box})))[0]
    assert dense.check(train) == []


def test_counts_are_of_all(root: Path) -> None:
    content = copy.deepcopy(TRAIN)
    content["annotations"] = [
        content["annotations"][0] | {"id": n, "bbox": [0, 0, n % 2, 3], "image_id": 3}
        for n in range(10)
    ]
    (sentence,) = dense.check(opened(write(root, content))[0])
    assert "5 of 10 annotations have a box without" in sentence
    assert "first id 0 with" in sentence


def test_the_two_empty_boxes_of_coco_itself_are_known(root: Path) -> None:
    empty = {"id": 918, "bbox": [4, 5, 1.03, 0.0], "area": 0.0}
    content = changed(annotations=empty)
    train, test = opened(write(root, content, content))
    assert dense.check(train) == []
    assert len(dense.check(test)) == 1


@pytest.mark.parametrize(
    "change", [{"iscrowd": 1}, {"bbox": [1, 1, 0, 0]}, {"area": 0}]
)
def test_no_annotated_image(root: Path, change: dict[str, Any]) -> None:
    content = copy.deepcopy(TRAIN)
    for entry in content["annotations"]:
        entry |= change
    sentences = dense.check(opened(write(root, content))[0])
    assert "none of the 2 images has an annotation that is no crowd" in sentences[-1]


def test_no_annotated_image_within_the_limit(root: Path) -> None:
    train = opened(write(root, changed(annotations={"iscrowd": 1})))[0]
    assert dense.check(train) == []
    (sentence,) = dense.check(train.limited(1))
    assert "none of the 1 images has an annotation" in sentence


def test_no_annotation_at_all(root: Path) -> None:
    (sentence,) = dense.check(opened(write(root, TRAIN | {"annotations": []}))[0])
    assert "(0 annotations in all)" in sentence


def test_other_categories(root: Path) -> None:
    test = opened(write(root, val=changed(categories={"name": "lion"})))[1]
    have, lack = dense.check(test)
    assert "its categories have lion, and those of the training file do not" in have
    assert "its categories lack cat" in lack


def test_categories_in_another_order(root: Path) -> None:
    turned = TRAIN | {"categories": TRAIN["categories"][::-1]}
    train, test = opened(write(root, turned, TRAIN))
    assert train.classes == ("cat", "dog")
    (sentence,) = dense.check(train)
    assert "not in the order of the ids of the training file, first 'dog'" in sentence
    assert dense.check(test) == []


# ------------------------------------------------------------------------------- folder
def own(root: Path, train: str, val: str, images: dict[str, str]) -> Path:
    """Write a folder: the names of both files, and of the folders of their images."""
    folder = root / "annotations"
    folder.mkdir(parents=True)
    for name, role in ((train, "train"), (val, "val")):
        (folder / name).write_text(json.dumps(TRAIN))
        for file in ("a.jpg", "b.jpg"):
            image(root / images[role] / file)
    return root


@pytest.mark.parametrize(
    ("train", "val", "folders"),
    [
        (
            "instances_train2017.json",
            "instances_val2017.json",
            {"train": "train2017", "val": "val2017"},
        ),
        ("train.json", "val.json", {"train": "images/train", "val": "images/val"}),
        ("train.json", "test.json", {"train": "images", "val": "images"}),
        (
            "instances_train_a.json",
            "instances_test_a.json",
            {"train": "train", "val": "test"},
        ),
        (
            "instances_train_a.json",
            "instances_val_a.json",
            {"train": "images/train", "val": "val"},
        ),
        ("train.json", "val.json", {"train": ".", "val": "."}),
    ],
)
def test_a_folder_is_told_from_what_is_there(
    tmp_path: Path, train: str, val: str, folders: dict[str, str]
) -> None:
    root = own(tmp_path / "mine", train, val, folders)
    one, two = opened(root, "folder")
    assert one.own
    assert (one.images, two.images) == (root / folders["train"], root / folders["val"])
    assert (one.annotations.name, two.annotations.name) == (train, val)
    assert dense.check(one) == dense.check(two) == []
    assert one.fingerprint()


def test_the_folder_with_most_images_is_taken(tmp_path: Path) -> None:
    folders = {"train": "images", "val": "images"}
    root = own(tmp_path / "mine", "train.json", "val.json", folders)
    image(root / "train" / "a.jpg")
    assert opened(root, "folder")[0].images == root / "images"
    (root / "images" / "a.jpg").unlink()
    (root / "images" / "b.jpg").unlink()
    image(root / "val" / "a.jpg")
    train = opened(root, "folder")[0]
    assert train.images == root / "train"
    (sentence,) = dense.check(train)
    assert "1 of 2 images are missing, first b.jpg" in sentence


def test_what_a_folder_lacks(tmp_path: Path) -> None:
    folders = {"train": "pictures", "val": "images"}
    root = own(tmp_path / "mine", "train.json", "val.json", folders)
    for name in ("a.jpg", "b.jpg"):
        (root / "images" / name).unlink()
    with pytest.raises(
        DataError, match=r"none of the 2 images of .*train.json is"
    ) as e:
        opened(root, "folder")
    for place in ("train", "images/train", "images"):
        assert f"{root / place}/" in str(e.value)

    path = root / "annotations" / "val.json"
    path.rename(path.with_name("valid.json"))
    with pytest.raises(
        DataError, match=r"no test annotations: looked for instances_val"
    ):
        opened(root, "folder")

    (root / "annotations" / "instances_train1.json").write_text("{}")
    (root / "annotations" / "instances_train2.json").write_text("{}")
    with pytest.raises(DataError, match=r"2 files that may be the train annotations"):
        opened(root, "folder")
    with pytest.raises(DataError, match="folder is not under"):
        opened(tmp_path / "mine" / "images", "folder")


# ------------------------------------------------------------------------ digit-scenes
def test_digit_scenes(tmp_path: Path) -> None:
    home = tmp_path / "digit-scenes"
    counts = SceneCounts(coco_train=3, coco_val=2)
    scenes.generate(home, counts=counts, styles=("coco",))

    train, test = opened(home, "digit-scenes")

    assert (len(train), len(test), train.bundled, train.masks) == (3, 2, True, True)
    assert train.classes[:2] == ("zero", "one")
    assert dense.check(train) == dense.check(test) == []
    assert opened(tmp_path, "digit-scenes")[0] == train
    # Under another name they are still no data of the user's for a table.
    assert opened(home / "coco", "coco")[0].bundled
    assert opened(home / "coco", "folder")[0].bundled
    with pytest.raises(
        DataError, match=r"digit-scenes is not under .*coco/annotations"
    ):
        opened(home / "coco", "digit-scenes")


def test_digit_scenes_are_made_without_a_root(monkeypatch: pytest.MonkeyPatch) -> None:
    small = SceneCounts(coco_train=2, coco_val=2)
    monkeypatch.setattr(scenes, "SceneCounts", lambda: small)
    train, test = (
        dense.open_splits("detect", "digit-scenes", None, seed=3)[role]
        for role in ("train", "test")
    )
    assert (len(train), len(test), train.bundled) == (2, 2, True)
    assert train.fingerprint() != test.fingerprint()
