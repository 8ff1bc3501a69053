"""Places205: 2.4 million scenes of 205 kinds, in its own and in MMSelfSup's layout.

Source: Zhou et al. 2014, http://places.csail.mit.edu: imagesPlaces205_resize.tar.gz and
    trainvalsplit_places205.tar.gz, unpacked in one folder.
"""

from __future__ import annotations

from pathlib import Path

from ssl_bench.data.image_list import ImageDataset, PathList
from ssl_bench.data.list_file import Targets, folder_names, read_list
from ssl_bench.errors import DataError
from ssl_bench.registry import DATASETS

DATASET = "places205"
CLASSES = 205
IMAGES = "data/vision/torralba/deeplearning/images256/"
LISTS = "trainvalsplit_places205"


@DATASETS.register_module(name=DATASET)
class Places205(ImageDataset):
    """Read the distributed lists, or those in ``meta/`` where there are none.

    Args:
        root: the folder of the images and the lists.
        split: ``train`` or ``val``.
    """

    name = DATASET
    folders = ("Places205", "places205")
    layout = (
        f"{LISTS}/train_places205.csv and val_places205.csv ('a/abbey/1.jpg 0' a line) "
        f"with {IMAGES}; or meta/train.txt and meta/val.txt with train/ and val/"
    )

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        self.samples, self.targets = self._read(split)
        samples, targets = self.samples, self.targets
        if split != "train" and self.list_of(root, "train").is_file():
            samples, targets = self._read("train")
        count = int(max(self.targets.max(), targets.max())) + 1
        self.classes = folder_names(samples, targets, count, self._prefix("train"))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether there are lists in either layout, or the images."""
        names = (LISTS, "meta", IMAGES)
        return any((folder / name).is_dir() for name in names)

    @staticmethod
    def list_of(root: Path, split: str) -> Path:
        """Return the list of a split, whether it is there or not."""
        own = root / LISTS / f"{split}_places205.csv"
        for path in (
            own,
            root / "meta" / f"{split}_labeled.txt",  # OpenSelfSup's
            root / "meta" / f"{split}.txt",
        ):
            if path.is_file():
                return path
        return own if (root / LISTS).is_dir() else root / "meta" / f"{split}.txt"

    def _prefix(self, split: str) -> str:
        is_own = self.list_of(self.root, split).parent.name == LISTS
        return IMAGES if is_own else f"{split}/"

    def _read(self, split: str) -> tuple[PathList, Targets]:
        path, prefix = self.list_of(self.root, split), self._prefix(split)
        samples, targets = read_list(path, prefix, unless_there=True)
        if targets.max() >= CLASSES:
            raise DataError(
                f"{path} has the label {targets.max()}, and the {CLASSES} classes of "
                f"data set {self.name} are counted from 0 to {CLASSES - 1}; take the "
                "list that belongs to it"
            )
        return samples, targets
