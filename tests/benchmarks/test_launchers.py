"""The shell files that a cluster's user launches, run with two processes on the CPU.

Those that begin with ``slurm`` or ``mim_slurm`` run in ``test_slurm_launchers``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.benchmarks.launched import ROOT, SELFSUP, WORK, Site, check, launch

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FILES = sorted(
    path
    for path in (ROOT / "benchmarks").rglob("*.sh")
    if path.parent.name != "detectron2"
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_is_short_and_says_how_it_is_called(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 25
    assert sum("ssl_bench " in line for line in lines) == 1
    assert os.access(path, os.X_OK)
    done = launch(str(path.relative_to(ROOT / "benchmarks")))
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert done.stderr.count("\n") == 1


def test_every_name_that_users_know_is_there() -> None:
    frozen = {
        f"classification/{folder}/{how}_test_{which}_{what}.sh"
        for folder, which in (("svm_voc07", "svm"), ("knn_imagenet", "knn"))
        for how in ("dist", "slurm")
        for what in ("pretrain", "epoch")
    }
    trained = {
        f"classification/{how}_train_{what}.sh"
        for how in ("dist", "slurm")
        for what in ("linear", "semi")
    }
    dense = {
        f"{folder}/mim_{how}_{what}.sh"
        for folder in ("detection", "segmentation")
        for how in ("dist", "slurm")
        for what in ("train", "test")
    }
    found = {str(path.relative_to(ROOT / "benchmarks")) for path in FILES}
    assert found == frozen | trained | dense


@pytest.mark.parametrize("protocol", ["linear", "semi"])
def test_training_leaves_the_record_of_the_plain_command(
    protocol: str, site: Site, tmp_path: Path
) -> None:
    config = site.recipes[protocol]
    found = site.launched(
        tmp_path,
        f"classification/dist_train_{protocol}.sh",
        *(config, "none", "--work-dir", tmp_path / "run"),
        protocol=protocol,
        processes=2,
        GPUS=2,
    )
    check(found, site.plain(protocol, str(config), "--pretrain", "none"))


@pytest.mark.parametrize("protocol", ["knn", "svm"])
@pytest.mark.parametrize("what", ["pretrain", "epoch"])
def test_frozen_features_leave_the_record_of_the_plain_command(
    protocol: str, what: str, site: Site, tmp_path: Path
) -> None:
    """The epoch is found where a training run of that config leaves it."""
    folder = {"knn": "knn_imagenet", "svm": "svm_voc07"}[protocol]
    features = ["feat4 feat5"] if protocol == "svm" else []
    where = [2, site.checkpoint] if what == "pretrain" else [3]
    found = site.launched(
        tmp_path,
        f"classification/{folder}/dist_test_{protocol}_{what}.sh",
        *(SELFSUP, *where, *features),
        protocol=protocol,
        processes=2,
        GPUS=2,
    )
    chosen = ("--feature-list", *features) if features else ()
    check(found, site.plain(protocol, *chosen, "--pretrain", str(site.checkpoint)))
    kept = site.folder / WORK / folder / "epoch_3"
    assert list(kept.glob("*.json")), "the work dir is not below the training run's"


@pytest.mark.parametrize("protocol", ["detect", "segment"])
def test_dense_is_trained_and_tested(protocol: str, site: Site, tmp_path: Path) -> None:
    folder = {"detect": "detection", "segment": "segmentation"}[protocol]
    config = site.recipes[protocol]
    model, plain = site.trained(protocol)
    found = site.launched(
        tmp_path / "a",
        f"{folder}/mim_dist_train.sh",
        *(config, "none", 2, "--work-dir", tmp_path / "w"),
        protocol=protocol,
        processes=2,
    )
    check(found, plain)
    found = site.launched(
        tmp_path / "b",
        f"{folder}/mim_dist_test.sh",
        *(config, model, 2, "--pretrain", "none", "--work-dir", tmp_path / "v"),
        protocol=protocol,
        processes=2,
    )
    assert found["metrics"] == plain["metrics"]


@pytest.mark.parametrize(
    ("file", "before"),
    [
        ("knn_imagenet/dist_test_knn_epoch.sh", []),
        ("knn_imagenet/slurm_test_knn_epoch.sh", ["cpu", "name"]),
        ("svm_voc07/dist_test_svm_epoch.sh", []),
        ("svm_voc07/slurm_test_svm_epoch.sh", ["cpu", "name"]),
    ],
)
def test_an_epoch_that_is_not_there_names_those_that_are(
    file: str, before: list[str], tmp_path: Path
) -> None:
    """The config is not there either: only its path is used."""
    folder = tmp_path / WORK
    folder.mkdir(parents=True)
    words = (f"classification/{file}", *before, SELFSUP, 7)
    done = launch(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"error: there is no {WORK}/epoch_7.pth; epochs in {WORK}: none\n"
    )
    for epoch in (100, 9, 20):
        (folder / f"epoch_{epoch}.pth").touch()
    done = launch(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"error: there is no {WORK}/epoch_7.pth; epochs in {WORK}: 9 20 100\n"
    )
    assert done.stderr.count("\n") == 1
