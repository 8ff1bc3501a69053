"""A contact sheet: predictions beside the truth; people look before they read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import mmcv
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image, ImageDraw

from ssl_bench.files import atomic_write
from ssl_bench.launch import rank
from ssl_bench.training.hooks import bare

NAME = "contact_sheet.png"
_PICTURES = 8
_COLUMNS = 2
_WIDTH = 640
_MARGIN = 8
_TITLE = "left: truth, right: prediction"
_THRESHOLD = 0.3


def draw(runner: Any, folder: Path) -> str:
    """Draw the first test images with truth and prediction; return the file's name.

    Args:
        runner: with a trained model.
        folder: takes the sheet.
    """
    if rank() > 0:
        return ""
    dataset, model = runner.val_loop.dataloader.dataset, bare(runner.model)
    was_training = model.training
    model.eval()
    runner.visualizer.dataset_meta = dataset.metainfo
    pictures = []
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
        for index in range(min(_PICTURES, len(dataset))):
            path = Path(scratch) / f"{index}.png"
            _draw_one(runner, model, dataset[index], path)
            with Image.open(path) as picture:
                pictures.append(picture.convert("RGB"))
    model.train(was_training)
    if not pictures:
        return ""
    sheet = _arranged(pictures)
    with atomic_write(folder / NAME) as file:
        sheet.save(file, "PNG")
    return NAME


def _draw_one(runner: Any, model: Any, item: Any, path: Path) -> None:
    (found,) = model.test_step(pseudo_collate([item]))
    image = mmcv.imread(found.img_path, channel_order="rgb")
    options = {"pred_score_thr": _THRESHOLD} if "pred_instances" in found else {}
    runner.visualizer.add_datasample(
        path.stem,
        image,
        found.cpu(),
        draw_gt=True,
        show=False,
        out_file=str(path),
        **options,
    )


def _arranged(pictures: list[Image.Image]) -> Image.Image:
    scaled = [
        picture.resize((_WIDTH, max(1, picture.height * _WIDTH // picture.width)))
        for picture in pictures
    ]
    rows = [scaled[i : i + _COLUMNS] for i in range(0, len(scaled), _COLUMNS)]
    heights = [max(picture.height for picture in row) for row in rows]
    title = 3 * _MARGIN
    sheet = Image.new(
        "RGB",
        (
            _COLUMNS * (_WIDTH + _MARGIN) + _MARGIN,
            sum(heights) + (len(rows) + 1) * _MARGIN + title,
        ),
        "white",
    )
    ImageDraw.Draw(sheet).text((_MARGIN, _MARGIN), _TITLE, fill="black")
    top = title + _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (_MARGIN + column * (_WIDTH + _MARGIN), top))
        top += height + _MARGIN
    return sheet
