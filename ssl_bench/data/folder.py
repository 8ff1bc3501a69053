"""Any images of one's own, sorted into ``train/<class>/`` and ``val/<class>/``."""

from __future__ import annotations

from pathlib import Path

from ssl_bench.data import scenes
from ssl_bench.data.class_folders import class_names, scan
from ssl_bench.data.image_list import ImageDataset
from ssl_bench.errors import DataError
from ssl_bench.registry import DATASETS

DATASET = "folder"


@DATASETS.register_module(name=DATASET)
class Folder(ImageDataset):
    """Read class folders; the classes are the folders of ``train/``, sorted."""

    name = DATASET
    folders = ("folder",)
    own = True
    layout = "train/<class>/*.jpg and val/<class>/*.jpg (or test/ in place of val/)"

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        # The bundled scenes stay marked, under whatever name they are opened.
        self.bundled = self.bundled or (root / scenes.MANIFEST).is_file()
        self.classes = class_names(self._folder("train"))
        found = scan(root, self._folder(split).name, self.classes)
        self.samples, self.targets = found.samples, found.targets

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether there is a ``train``, ``val`` or ``test`` folder."""
        return any((folder / name).is_dir() for name in ("train", "val", "test"))

    def _folder(self, split: str) -> Path:
        tried = [self.root / split]
        if split == "val":
            tried.append(self.root / "test")
        for folder in tried:
            if folder.is_dir():
                return folder
        raise DataError(
            f"data set {self.name} in {self.root} has no {split}/ folder; expected "
            f"layout: {self.layout}"
        )
