"""Watching a training run: names, half-written files, the curve, and the end."""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_bench import backbones, cli
from ssl_bench.errors import BenchError
from ssl_bench.results.store import RecordStore
from ssl_bench.suite.curve import COLUMNS, Curve, Point, first_metrics, read_points
from ssl_bench.suite.watching import Rule, Watch, checkpoints_in, epoch_of

SUITE = """
about = "k-NN, small"
[[cells]]
protocol = "knn"
options = { transform = "small", topk = [3], votes = "weighted" }
"""


def save(path: Path, seed: int = 0, **more: Any) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(backbones.build("resnet18-w8", seed=seed).state_dict() | more, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        ("epoch_10.pth", 10),  # MMSelfSup, MMPretrain
        ("iter_4000.pth", 4000),
        ("mocov2plus-imagenet-1k7n3x2b-ep=10.ckpt", 10),  # solo-learn
        ("byol-cifar-abc-ep=10-stp=400.ckpt", 10),
        ("epoch=3-step=400.ckpt", 3),  # Lightning
        ("epoch=3-step=400-v1.ckpt", 3),
        ("epoch=03.ckpt", 3),
        ("model-epoch=12-val_loss=0.31.ckpt", 12),
        ("last.ckpt", None),
        ("epoch_10.pth.part", None),
        (".epoch_10.pth.123.tmp", None),
        ("best_top1_epoch_10.pth", None),
        ("keep=10.ckpt", None),
        ("epoch_latest.pth", None),
    ],
)
def test_names(name: str, epoch: int | None) -> None:
    assert epoch_of(name) == epoch


def test_checkpoints_are_sorted_and_found_where_lightning_puts_them(
    tmp_path: Path,
) -> None:
    names = ["epoch_10.pth", "epoch_2.pth", "checkpoints/epoch=3-step=9.ckpt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "epoch_1.pth").mkdir()  # no file
    assert [found.epoch for found in checkpoints_in(tmp_path)] == [2, 3, 10]


def nothing(path: Path) -> Sequence[Any]:
    del path
    return []


class Asked:
    """Stand for the evaluation; keep which files were asked for."""

    def __init__(self, fails: str = "") -> None:
        self.names: list[str] = []
        self.fails = fails

    def __call__(self, path: Path) -> Sequence[Any]:
        self.names.append(path.name)
        if path.name == self.fails:
            raise BenchError("it is of no known layout")
        return []


def watch(folder: Path, asked: Asked, rule: Rule, *between: Callable[[], Any]) -> int:
    """Watch; what happens while it sleeps is given, one act a sleep."""
    acts = iter(between)

    def sleep(seconds: float) -> None:
        assert seconds > 0
        act = next(acts, None)
        if act is None:
            raise KeyboardInterrupt
        act()

    curve = Curve(folder, lambda _: None)
    return Watch(folder, asked, curve, rule, sleep=sleep).run()


def idle() -> None:
    pass


def test_a_half_written_file_is_left_alone_until_it_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = save(tmp_path / "scratch" / "x.pth")
    path, asked = tmp_path / "epoch_1.pth", Asked()
    sizes: list[int] = []

    def write(size: int) -> Callable[[], None]:
        def act() -> None:
            assert asked.names == []
            sizes.append(size)
            path.write_bytes(content[:size])

        return act

    with pytest.raises(KeyboardInterrupt):
        watch(
            *(tmp_path, asked, Rule()),
            *(write(1000), idle, idle, write(len(content) - 1), idle),
            *(write(len(content)), lambda: asked.names and None, idle),
        )
    assert len(sizes) == 3
    assert asked.names == ["epoch_1.pth"]
    assert capsys.readouterr().err.count("left alone") == 1


def test_a_file_that_grows_is_not_opened(tmp_path: Path) -> None:
    """It is whole at every look, and another one each time."""
    path, asked = tmp_path / "epoch_1.pth", Asked()

    def rewrite(seed: int) -> Callable[[], None]:
        def act() -> None:
            save(path, seed, more=torch.zeros(seed))

        return act

    with pytest.raises(KeyboardInterrupt):
        watch(tmp_path, asked, Rule(), *map(rewrite, range(1, 5)))
    assert asked.names == []
    with pytest.raises(KeyboardInterrupt):
        watch(tmp_path, asked, Rule(), idle)
    assert asked.names == ["epoch_1.pth"]


def test_an_overwritten_checkpoint_is_evaluated_again(tmp_path: Path) -> None:
    path, asked = tmp_path / "epoch_1.pth", Asked()
    save(path)

    def again() -> None:
        save(path, 1)
        os.utime(path, ns=(1, 1))

    with pytest.raises(KeyboardInterrupt):
        watch(tmp_path, asked, Rule(), idle, again, idle, idle)
    assert asked.names == ["epoch_1.pth"] * 2


def test_every_and_until(tmp_path: Path) -> None:
    for epoch in (1, 2, 3, 4, 6):
        save(tmp_path / f"epoch_{epoch}.pth")
    asked = Asked()
    assert watch(tmp_path, asked, Rule(every=2, until=4), idle) == 0
    assert asked.names == ["epoch_2.pth", "epoch_4.pth"]

    asked = Asked()
    (tmp_path / "epoch_4.pth").unlink()
    late = tmp_path / "epoch_5.pth"
    assert (
        watch(
            *(tmp_path, asked, Rule(every=5, until=5), lambda: save(late), idle, idle)
        )
        == 0
    )
    assert asked.names == ["epoch_5.pth"]  # 6 was there before it, and beyond the end


def test_a_checkpoint_that_fails_does_not_end_the_watch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for epoch in (1, 2):
        save(tmp_path / f"epoch_{epoch}.pth")
    asked = Asked(fails="epoch_1.pth")
    assert watch(tmp_path, asked, Rule(once=True), idle) == 1
    assert asked.names == ["epoch_1.pth", "epoch_2.pth"]
    assert "FAILED: epoch_1.pth: it is of no known layout" in capsys.readouterr().err


def test_once_says_what_is_still_being_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "epoch_1.pth"
    path.write_bytes(b"PK")
    asked = Asked()
    watch(tmp_path, asked, Rule(once=True), lambda: save(path))
    assert asked.names == []
    assert "epoch_1.pth is still being written" in capsys.readouterr().err


def test_the_first_metric_of_every_protocol_is_drawn() -> None:
    points = [
        Point(1, "a", "knn", "top1", 50.0),
        Point(1, "a", "knn", "top5", 90.0),
        Point(1, "a", "svm", "mAP", 60.0),
        Point(2, "b", "knn", "top1", 55.0),
    ]
    drawn = first_metrics(points)
    assert [p.value for p in drawn["knn"]] == [50.0, 55.0]
    assert [p.value for p in drawn["svm"]] == [60.0]


@pytest.mark.parametrize(
    "text", ["", "epoch,loss\n1,2\n", ",".join(COLUMNS) + "\n1,a,knn,top1,much,,\n"]
)
def test_a_foreign_table_is_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ssl_bench_curve.csv"
    path.write_text(text)
    with pytest.raises(BenchError, match="no curve of ssl-bench watch"):
        Curve(tmp_path, lambda _: None)
    assert path.read_text() == text


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "ssl_bench_curve.csv").open() as file:
        return list(csv.DictReader(file))


def wilson(percent: float, count: int) -> tuple[float, float]:
    """Return Wilson's interval by its textbook formula."""
    p, z = percent / 100, 1.959963984540054
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count**2))
    half /= 1 + z * z / count
    return 100 * (middle - half), 100 * (middle + half)


def test_the_whole_way(
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "byol"
    for epoch in (10, 2):
        save(run / f"epoch_{epoch}.pth", epoch)
    (tmp_path / "small.toml").write_text(SUITE)
    data = ["--dataset", "folder", "--data-root", str(image_folder), "--workers", "0"]
    where = ["--results", str(tmp_path / "r"), "--poll", "0.01"]
    command = ["watch", str(run), "--suite", str(tmp_path / "small.toml")]
    command += [*data, *where]
    assert cli.main([*command, "--once"]) == 0
    found = rows(run)
    assert tuple(found[0]) == COLUMNS
    wanted = [(e, m) for e in ("2", "10") for m in ("top1_k3", "top5_k3")]
    assert [(row["epoch"], row["metric"]) for row in found] == wanted
    records = {r.checkpoint["source"]: r for r in RecordStore(tmp_path / "r").all()}
    for row in found:
        metric = records[row["checkpoint"]].metric(row["metric"])
        assert metric is not None
        assert float(row["value"]) == metric.value
        low, high = wilson(metric.value, 12)
        assert float(row["low"]) == pytest.approx(low)
        assert float(row["high"]) == pytest.approx(high)
    picture = (run / "ssl_bench_curve.png").read_bytes()
    assert picture.startswith(b"\x89PNG")

    def fail(_: object) -> None:
        raise AssertionError("evaluated again")

    # A restart finds the records; the row of a file that is gone stays.
    (run / "epoch_2.pth").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("ssl_bench.protocols.knn.run", fail)
        assert cli.main([*command, "--until", "10"]) == 0
    assert rows(run) == found

    save(run / "epoch_11.pth", 11)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    capsys.readouterr()
    assert cli.main([*command, "--once"]) == 0
    assert [row["epoch"] for row in rows(run)] == ["2", "2", "10", "10", "11", "11"]
    assert capsys.readouterr().err.count("matplotlib is not here") == 1
    assert read_points(run / "ssl_bench_curve.csv")[-1].epoch == 11


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--every", "0"], 2, "--every 0"),
        (["--poll", "0"], 2, "--poll 0"),
        (["--limit", "0"], 2, "--limit 0"),
        (["--data-root", "x"], 2, "--data-root needs --dataset"),
        (["--suite", "quik"], 1, "'quick'"),
    ],
)
def test_wrong_words(
    tmp_path: Path,
    more: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["watch", str(tmp_path), "--suite", "quick", *more]) == code
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["watch", str(tmp_path / "none"), "--suite", "quick"]) == 1
    assert "no folder" in capsys.readouterr().err


def test_ctrl_c_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: Watch) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "run", interrupt)
    words = ["watch", str(tmp_path), "--suite", "quick"]
    words += ["--results", str(tmp_path / "r")]
    assert cli.main(words) == 130
    assert "interrupted; finished work is kept" in capsys.readouterr().err
