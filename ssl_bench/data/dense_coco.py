"""Boxes and masks in the style of COCO: one annotation file a split.

Source of the layout: ``annotations/instances_{train,val}2017.json`` and
``{train,val}2017/`` of COCO 2017.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_bench.data import dense_coco_file, roots, scenes
from ssl_bench.data.dense_coco_file import CocoFile
from ssl_bench.data.dense_split import (
    DenseSplit,
    absent,
    first_of,
    is_bundled,
    problem,
    twice,
)
from ssl_bench.data.image_list import shortened
from ssl_bench.data.scene_cache import NAME, ensure
from ssl_bench.errors import DataError

SPLITS = ("train2017", "val2017")
LAYOUT = "annotations/instances_{train,val}2017.json, train2017/ and val2017/"

ADVICE = (
    "unpack train2017.zip, val2017.zip and annotations_trainval2017.zip of "
    "cocodataset.org there"
)
_AGAIN = (
    f"remove the folder {scenes.FOLDERS['coco']} of the scenes, so that it is made "
    "once more"
)

# Source: github.com/cocodataset/cocoapi, issue 355; both are of train2017.
KNOWN_EMPTY = (918, 2206849)
"""Annotations of COCO itself whose box has no height."""

_SLACK = 1.0  # pixels by which a rounded box may reach outside its image


@dataclass(frozen=True, kw_only=True)
class CocoSplit(DenseSplit):
    """Hold one annotation file and the folder of its images.

    Attributes:
        annotations: the JSON file.
        images: the folder that its file names are relative to.
        masks: whether every annotation that is no crowd has a segmentation.
    """

    annotations: Path
    images: Path
    masks: bool

    @functools.cached_property
    def _files(self) -> Sequence[Path]:
        names = dense_coco_file.read(self.annotations).names
        return [self.images / name for name in first_of(names, self.limit)]

    def image_files(self) -> Sequence[Path]:
        """Return the images, after the limit, in the order of the file."""
        return self._files

    def label_files(self) -> Sequence[Path]:
        """Return the annotation file."""
        return [self.annotations]

    def problems(self) -> list[str]:
        """Return a sentence for every sort of problem, with its count and the first."""
        found = dense_coco_file.read(self.annotations)
        lost = absent(self.images, first_of(found.names, self.limit))
        return [
            *problem(
                self.images,
                len(lost),
                len(self),
                "images are missing",
                next(iter(lost), ""),
                f"put them there, or remove them from {self.annotations}",
            ),
            *self._duplicates(found),
            *self._categories(found),
            *self._boxes(found),
        ]

    def _duplicates(self, found: CocoFile) -> list[str]:
        sentences: list[str] = []
        for what, items, advice in (
            ("images have the id of another", found.image_ids.tolist(), _REMOVE),
            ("images name the file of another", list(found.names), _REMOVE),
            (
                "annotations have the id of another",
                found.ids.tolist(),
                "number them anew",
            ),
        ):
            again = twice(items)
            sentences += problem(
                self.annotations,
                len(again),
                len(items),
                what,
                str(next(iter(again), "")),
                advice,
            )
        return sentences

    def _categories(self, found: CocoFile) -> list[str]:
        names = [name for _, name in found.categories]
        strange = [name for name in names if name not in self.classes]
        lacking = [name for name in self.classes if name not in names]
        sentences = [
            f"{self.annotations}: its categories {what} {shortened(wrong)}, and those "
            "of the training file do not; give both files the same categories"
            for what, wrong in (("have", strange), ("lack", lacking))
            if wrong
        ]
        # OpenMMLab numbers the classes as they come in each file.
        if not sentences and names != list(self.classes):
            first = next(a for a, b in zip(names, self.classes, strict=True) if a != b)
            sentences.append(
                f"{self.annotations}: its categories are not in the order of the ids "
                f"of the training file, first {first!r}; sort them by id, so that "
                "every reader numbers the classes alike"
            )
        return sentences

    def _boxes(self, found: CocoFile) -> list[str]:
        """Look at the annotations of all images, limit or not."""
        known_ids = np.array([number for number, _ in found.categories])
        no_category_A = ~np.isin(found.category, known_ids)
        place_A = _places(found)
        no_image_A = place_A < 0
        wide_A2 = found.boxes[:, 2:]
        empty_A = ~(wide_A2 > 0).all(axis=1)
        known_A = np.isin(found.ids, self._known_empty())
        told_A = empty_A & ~((wide_A2 >= 0).all(axis=1) & known_A)
        ends_A2 = found.boxes[:, :2] + wide_A2
        sizes_A2 = found.sizes[np.maximum(place_A, 0)]
        outside_A = (found.boxes[:, :2] < -_SLACK).any(axis=1)
        outside_A |= (ends_A2 > sizes_A2 + _SLACK).any(axis=1)
        outside_A &= ~no_image_A & ~empty_A
        flat_A = ~(found.areas > 0) & ~empty_A
        sentences: list[str] = []
        for wrong_A, what, detail, advice in (
            (no_category_A, "have a category_id of no category", "category_id", _MEND),
            (no_image_A, "have an image_id of no image", "image_id", _MEND),
            (told_A, "have a box without width or height", "bbox", _MEND),
            (outside_A, "have a box that leaves its image", "bbox", _MEND),
            (flat_A, "have no area above 0", "area", _AREA),
        ):
            sentences += problem(
                self.annotations,
                int(wrong_A.sum()),
                len(wrong_A),
                f"annotations {what}",
                _said(found, wrong_A, detail),
                advice,
            )
        usable_A = ~(no_category_A | no_image_A | empty_A | flat_A | found.crowd)
        if not (place_A[usable_A] < len(self)).any():
            sentences.append(
                f"{self.annotations}: none of the {len(self)} images has an annotation "
                f"that is no crowd and has a box ({len(found.ids)} annotations in "
                "all); take more images, or add annotations"
            )
        return sentences

    def _known_empty(self) -> tuple[int, ...]:
        return KNOWN_EMPTY if self.name == "coco" and self.split == SPLITS[0] else ()


_MEND = "correct or remove them"
_REMOVE = "remove one of the two"
_AREA = "write the square pixels of the mask, or of the box, as their area"


def _places(found: CocoFile) -> NDArray[np.int64]:
    """Return (A,) the place of each annotation's image, -1 where it has none."""
    order_I = np.argsort(found.image_ids, kind="stable")
    sorted_I = found.image_ids[order_I]
    at_A = np.searchsorted(sorted_I, found.of_image)
    at_A = np.minimum(at_A, len(sorted_I) - 1)
    right_A = sorted_I[at_A] == found.of_image
    return np.where(right_A, order_I[at_A], -1).astype(np.int64)


def _said(found: CocoFile, wrong_A: NDArray[np.bool_], detail: str) -> str:
    """Name the first annotation that is wrong, and what is wrong about it."""
    if not wrong_A.any():
        return ""
    place = int(wrong_A.argmax())
    values = {
        "category_id": found.category,
        "image_id": found.of_image,
        "bbox": found.boxes,
        "area": found.areas,
    }[detail]
    text = f"id {found.ids[place]} with {detail} {values[place].tolist()}"
    if detail != "bbox":
        return text
    at = int(_places(found)[place])
    width, height = found.sizes[at].tolist()
    return text if at < 0 else f"{text} in {found.names[at]} of {width} x {height}"


# ------------------------------------------------------------------------------ opening


def open_coco(data_root: Path | None) -> tuple[DenseSplit, DenseSplit]:
    """Open COCO 2017.

    Raises:
        DataError: when it is not there, or an annotation file cannot be read.
    """
    root = find(data_root)
    return _pair("coco", root, is_bundled(root), ADVICE)


def find(data_root: Path | None) -> Path:
    """Return the folder of COCO 2017.

    Raises:
        DataError: with the places that were looked at and the line to type.
    """
    return roots.find("coco", ("coco", "COCO"), data_root, _recognises, LAYOUT)


def open_scenes(data_root: Path | None) -> tuple[DenseSplit, DenseSplit]:
    """Open the COCO style of the bundled scenes; without a root they are made."""
    if data_root is None:
        return _pair(NAME, ensure("coco"), True, _AGAIN)
    part = scenes.FOLDERS["coco"]
    above = roots.find(
        NAME,
        (NAME,),
        data_root,
        lambda folder: _recognises(folder / part),
        f"{part}/{LAYOUT}, as tools/prepare_digit_scenes.py writes them",
    )
    return _pair(NAME, above / part, True, _AGAIN)


def open_folder(data_root: Path | None) -> tuple[DenseSplit, DenseSplit]:
    """Open data of the user's own; files and folders are told from what is there.

    Raises:
        DataError: with everything that was looked for.
    """
    root = roots.find(
        "folder",
        ("folder",),
        data_root,
        _recognises,
        "annotations/instances_{train,val}*.json (or train.json, val.json) and images/",
    )
    bundled = is_bundled(root)
    train_file = _annotations(root, "train", ("instances_train*.json", "train.json"))
    test_file = _annotations(
        root,
        "test",
        ("instances_val*.json", "instances_test*.json", "val.json", "test.json"),
    )
    train = _own(root, train_file, ("train",), None, bundled)
    test = _own(root, test_file, ("val", "test"), train.classes, bundled)
    return train, test


def _pair(
    name: str, root: Path, bundled: bool, advice: str
) -> tuple[DenseSplit, DenseSplit]:
    classes: tuple[str, ...] | None = None
    pair: list[DenseSplit] = []
    for split in SPLITS:
        path = root / "annotations" / f"instances_{split}.json"
        if not path.is_file():
            raise DataError(f"there is no {path}; {advice}")
        found = dense_coco_file.read(path)
        classes = found.classes if classes is None else classes
        pair.append(
            CocoSplit(
                name=name,
                split=split,
                root=root,
                classes=classes,
                bundled=bundled,
                annotations=path,
                images=root / split,
                masks=_masks(found),
            )
        )
    return pair[0], pair[1]


def _recognises(folder: Path) -> bool:
    return (folder / "annotations").is_dir()


def _masks(found: CocoFile) -> bool:
    return bool((found.masked | found.crowd).all())


def _annotations(root: Path, role: str, patterns: Sequence[str]) -> Path:
    """Return the one annotation file of a split."""
    folder = root / "annotations"
    for pattern in patterns:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if len(found) > 1:
            names = shortened([path.name for path in found])
            raise DataError(
                f"{folder} has {len(found)} files that may be the {role} annotations: "
                f"{names}; leave one of them"
            )
        if found:
            return found[0]
    there = sorted(path.name for path in folder.iterdir())
    raise DataError(
        f"{folder} has no {role} annotations: looked for {', '.join(patterns)}; there "
        f"is {shortened(there) if there else 'nothing'}"
    )


def _own(
    root: Path,
    path: Path,
    roles: Sequence[str],
    classes: tuple[str, ...] | None,
    bundled: bool,
) -> CocoSplit:
    found = dense_coco_file.read(path)
    split = path.stem.removeprefix("instances_")
    places = [root / split, root / "images" / split, root / "images"]
    places += [root / "images" / role for role in roles]
    places += [root / role for role in roles] + [root]
    places = list(dict.fromkeys(places))
    lost = {place: len(absent(place, found.names)) for place in places}
    best = min(places, key=lambda place: lost[place])
    if lost[best] == len(found.names):
        looked = ", ".join(f"{place}/" for place in places)
        raise DataError(
            f"none of the {len(found.names)} images of {path} is there, first "
            f"{found.names[0]}; looked in {looked}"
        )
    return CocoSplit(
        name="folder",
        split=split,
        root=root,
        classes=found.classes if classes is None else classes,
        bundled=bundled,
        own=True,
        annotations=path,
        images=best,
        masks=_masks(found),
    )
