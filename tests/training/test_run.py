"""Training runs as users meet them: what they leave, and what they refuse."""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench import cli, suite
from ssl_bench.errors import UsageError
from ssl_bench.training import apply
from ssl_bench.training.loop import TopK
from tests.training import small

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small.write_images(tmp_path / "images", (15, 11, 9), (5, 3, 3))


def fails(capsys: Capsys, line: list[str]) -> str:
    """Run a command that must fail in one sentence, and return it."""
    capsys.readouterr()
    code = cli.main(line)
    captured = capsys.readouterr()
    assert code in (1, 2), captured
    assert captured.out == ""
    errors = [x for x in captured.err.splitlines() if x.startswith("ssl-bench: error")]
    assert len(errors) == 1, captured.err
    return captured.err


def test_what_a_run_leaves(tmp_path: Path, root: Path, capsys: Capsys) -> None:
    config = small.write_config(
        tmp_path / "recipe.py",
        "linear",
        epochs=3,
        train_cfg={"by_epoch": True, "max_epochs": 3, "val_interval": 2},
    )
    line = small.words("linear", config, root, tmp_path)
    record = small.run(capsys, line)

    # Epoch 2 by the interval, epoch 3 because it is the last.
    assert list(record["details"]["epochs"]) == ["2", "3"]
    found = small.metrics(record)
    assert set(found) == {"top1", "top1_best"}  # three classes: no top-5
    assert found["top1"] == record["details"]["epochs"]["3"]["top1/head"]
    assert record["selection"] == "none"
    best = next(m for m in record["metrics"] if m["name"] == "top1_best")
    assert best["selection"].startswith("val")
    assert record["details"]["training"]["batch"] == 8
    assert record["dataset"]["counts"] == {"train": 35, "test": 11}

    with (tmp_path / "run" / "confusion_head.csv").open() as file:
        rows = list(csv.reader(file))
    counts = [[int(n) for n in row[1:]] for row in rows[1:]]
    assert [sum(row) for row in counts] == [5, 3, 3]
    hits = sum(counts[k][k] for k in range(3))
    assert found["top1"] == pytest.approx(100 * hits / 11)
    with (tmp_path / "run" / "per_class.csv").open() as file:
        shares = [row[1] for row in csv.reader(file)][1:]
    assert shares == [f"{100 * counts[k][k] / n:.2f}" for k, n in enumerate((5, 3, 3))]
    assert len(small.steps(tmp_path)) == 3 * 5
    assert not any(name.startswith("backbone") for name in small.weights(tmp_path))

    # A finished key is not run again.
    capsys.readouterr()
    assert cli.main(line) == 0
    assert "already evaluated" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_and_leaves_the_generators(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    config = small.write_config(tmp_path / "recipe.py", "semi", fraction=0.8)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    runs = []
    for name in ("a", "b"):
        out = tmp_path / name
        record = small.run(capsys, small.words("semi", config, root, out))
        runs.append((small.metrics(record), small.steps(out), small.weights(out)))
    assert torch.equal(before, torch.get_rng_state())
    assert runs[0][:2] == runs[1][:2]
    first, second = runs[0][2], runs[1][2]
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(name.startswith("backbone.layer1") for name in first)


def test_a_sweep_is_its_heads_one_by_one(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    config = small.write_config(tmp_path / "recipe.py", "linear")
    many = tmp_path / "many"
    line = small.words("linear", config, root, many)
    record = small.run(capsys, [*line, "--sweep", "lr=0.03,0.5,3e38", "wd=0,0.01"])
    state = small.weights(many)
    swept = small.metrics(record)
    for lr, wd in (("0.03", "0.01"), ("0.5", "0")):
        name = f"lr{lr}_wd{wd}".replace(".", "p")
        one = tmp_path / name
        alone = small.run(
            capsys,
            [
                *small.words("linear", config, root, one),
                "--cfg-options",
                f"optim_wrapper.optimizer.lr={lr}",
                f"optim_wrapper.optimizer.weight_decay={float(wd)}",
            ],
        )
        torch.testing.assert_close(
            state[f"heads.head_{name}.fc.weight"],
            small.weights(one)["heads.head.fc.weight"],
            rtol=1e-5,
            atol=1e-6,
        )
        assert swept[f"top1_{name}"] == small.metrics(alone)["top1"]
    # The head that diverges stops alone, and is not reported.
    assert any("lr3e+38" in text for text in record["warnings"])
    assert not any("lr3e+38" in name for name in swept)
    assert swept["top1"] == max(v for k, v in swept.items() if k.startswith("top1_"))
    assert record["metrics"][0]["selection"].startswith("val")


def test_a_diverging_run_stops_and_says_where(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    config = small.write_config(
        tmp_path / "recipe.py",
        "linear",
        optimizer={"type": "SGD", "lr": 3e38, "momentum": 0.9},
    )
    said = fails(capsys, small.words("linear", config, root, tmp_path))
    assert "not finite at step" in said
    assert "learning rate 3e+38" in said
    assert "lr=3e+37" in said


def test_a_frozen_backbone_that_moves_is_found(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    hooks = tmp_path / "meddling_hooks.py"
    hooks.write_text(
        "from mmengine.hooks import Hook\n"
        "from mmengine.registry import HOOKS\n"
        "@HOOKS.register_module(force=True)\n"
        "class Meddle(Hook):\n"
        "    def after_train(self, runner):\n"
        "        state = runner.model.network.state_dict()\n"
        "        next(iter(state.values()))[0, 0, 0, 0] += 1e-6\n"
    )
    config = small.write_config(
        tmp_path / "recipe.py",
        "linear",
        custom_imports={"imports": ["meddling_hooks"]},
        custom_hooks=[{"type": "Meddle"}],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        said = fails(capsys, small.words("linear", config, root, tmp_path))
    assert "not what it was before training" in said
    assert not list((tmp_path / "results").rglob("*.json"))


def test_accumulated_parts_make_the_same_step(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    config = small.write_config(
        tmp_path / "recipe.py", "finetune", model={"norm_eval": True}
    )
    states = []
    for parts in (1, 2):
        out = tmp_path / str(parts)
        line = small.words("finetune", config, root, out)
        extra = f"optim_wrapper.accumulative_counts={parts}"
        small.run(capsys, [*line, "--cfg-options", extra])
        states.append(small.weights(out))
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-4, atol=1e-5)


def test_the_learning_rate_follows_the_batch_on_request(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    config = small.write_config(tmp_path / "recipe.py", "linear", batch=64)
    line = small.words("linear", config, root, tmp_path)
    said = fails(capsys, line)
    assert "a batch of 64 is larger than the 35 training images" in said
    assert "auto_scale_lr.enable=True train_dataloader.batch_size=35" in said
    options = ["auto_scale_lr.enable=True", "train_dataloader.batch_size=16"]
    record = small.run(capsys, [*line, "--cfg-options", *options])
    training = record["details"]["training"]
    assert (training["recipe_batch"], training["batch"]) == (64, 16)
    assert training["lr"] == pytest.approx(training["recipe_lr"] / 4)


REFUSED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "keys of 0.x": ({"data": {}, "lr_config": {}}, [], "param_scheduler"),
    "unknown key": ({"modle": {}}, [], "modle"),
    "bad rate": ({}, ["--cfg-options", "optim_wrapper.optimizer.lr=-1"], "above 0"),
    "bad tap": ({}, ["--cfg-options", "model.heads.head.taps=layer9"], "layer9"),
    "sweep word": ({}, ["--sweep", "lt=1"], "--sweep lt=1"),
    "sweep twice": ({}, ["--sweep", "lr=1,1"], "twice"),
    "no images": ({}, ["--on-bad-image", "skip"], "--on-bad-image"),
    "too few": ({"fraction": 0.01}, [], "less than one"),
    "optimizer": ({"optimizer": {"type": "SDG", "lr": 1.0}}, [], "SGD"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path, root: Path, capsys: Capsys) -> None:
    values, more, expected = REFUSED[case]
    config = small.write_config(tmp_path / "recipe.py", "linear", **values)
    said = fails(capsys, small.words("linear", config, root, tmp_path, *more))
    assert expected in said


def test_a_run_of_something_else_is_not_gone_on_with(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    config = small.write_config(tmp_path / "recipe.py", "linear")
    small.run(capsys, small.words("linear", config, root, tmp_path))
    line = small.words("linear", config, root, tmp_path, "--arch", "resnet18-w16")
    said = fails(capsys, [*line, "--resume"])
    assert "holds a run of something else" in said
    assert small.ARCH in said


def test_a_class_that_training_lacks_is_named(tmp_path: Path, capsys: Capsys) -> None:
    root = small.write_images(tmp_path / "images", (9, 8, 7), (2, 2, 2))
    for image in (root / "train" / "class2").iterdir():
        image.unlink()
    config = small.write_config(tmp_path / "recipe.py", "linear")
    said = fails(capsys, small.words("linear", config, root, tmp_path))
    assert "class2" in said


def test_hits_are_counted_by_hand() -> None:
    metric = TopK(["a", "b"], classes=6)
    logits = torch.zeros(2, 3, 6)
    logits[0, 0, 2] = 1.0  # true class first
    logits[0, 1] = torch.tensor([6.0, 5, 4, 3, 2, 1])  # true class 4: fifth
    logits[0, 2] = torch.tensor([6.0, 5, 4, 3, 2, 1])  # true class 5: sixth
    # Head b says nothing: of equal logits the lower class goes first.
    logits[1, 1] = float("nan")  # no number is no hit
    metric.process(None, [logits, torch.tensor([2, 4, 5])])
    found = metric.evaluate(3)
    assert found["top1/a"] == pytest.approx(100 / 3)
    assert found["top5/a"] == pytest.approx(200 / 3)
    assert found["top1/b"] == 0
    assert found["top5/b"] == pytest.approx(100 / 3)
    assert metric.classwise_HK[0, 2] == 100
    assert metric.classwise_HK[0, 4] == 0
    assert metric.confusion_HKK is not None
    assert metric.confusion_HKK[0, 5, 0] == 1


def test_a_long_epoch_is_gone_on_with_in_its_middle(
    tmp_path: Path, root: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "_LONG_EPOCH", 3)
    monkeypatch.setattr(apply, "_BETWEEN", 2)
    hooks = tmp_path / "stopping_hooks.py"
    hooks.write_text(
        "from mmengine.hooks import Hook\n"
        "from mmengine.registry import HOOKS\n"
        "@HOOKS.register_module(force=True)\n"
        "class StopAtStep(Hook):\n"
        "    def before_train_iter(self, runner, batch_idx, data_batch=None):\n"
        "        if runner.iter == 7:\n"
        "            raise KeyboardInterrupt\n"
    )
    schedule = [{"type": "MultiStepLR", "by_epoch": True, "milestones": [1, 2]}]
    values: dict[str, Any] = {"epochs": 3, "fraction": 0.9, "param_scheduler": schedule}
    config = small.write_config(tmp_path / "recipe.py", "semi", **values)
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    expected = small.run(capsys, small.words("semi", config, root, calm))
    assert len(small.steps(calm)) == 3 * 4

    monkeypatch.syspath_prepend(str(tmp_path))
    line = small.words("semi", config, root, cut, "--resume")
    # The hook is of this run alone, and what it changes is not the recipe.
    stopping = {
        "custom_imports": {"imports": ["stopping_hooks"]},
        "default_hooks": {"stop": {"type": "StopAtStep"}},
    }
    small.write_config(tmp_path / "recipe.py", "semi", **values, **stopping)
    assert cli.main(line) == 130
    assert sorted(path.name for path in (cut / "run").glob("*.pth"))[-1:] == [
        "iter_6.pth"
    ]
    small.write_config(tmp_path / "recipe.py", "semi", **values)
    record = small.run(capsys, line)
    assert small.metrics(record) == small.metrics(expected)
    assert small.steps(cut) == small.steps(calm)
    first, second = small.weights(calm), small.weights(cut)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_network_of_another_size_trains_at_its_own(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    config = small.write_config(
        tmp_path / "recipe.py",
        "linear",
        transform=[
            {"type": "Resize", "size": 48},
            {"type": "CenterCrop", "size": 48},
        ],
    )
    arch = "vit_w64_d2_patch16_48"
    line = small.words("linear", config, root, tmp_path, "--arch", arch)
    record = small.run(capsys, line)
    last = record["identity"]["settings"]["transform"][-1]
    assert (last["type"], last["size"]) == ("Resize", [48, 48])


def test_a_head_of_a_sweep_stops_where_it_would_stop_alone(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    """The step is that of the first loss that is no number, and is kept."""
    config = small.write_config(tmp_path / "recipe.py", "linear", epochs=6)
    alone = [*small.words("linear", config, root, tmp_path / "alone")]
    said = fails(capsys, [*alone, "--cfg-options", "optim_wrapper.optimizer.lr=3e38"])
    match = re.search(r"not finite at step (\d+) ", said)
    assert match is not None

    line = small.words("linear", config, root, tmp_path / "swept")
    record = small.run(capsys, [*line, "--sweep", "lr=0.1,3e38"])
    assert record["details"]["diverged"] == {"head_lr3e+38_wd0": int(match[1])}
    without = small.words("linear", config, root, tmp_path / "without")
    calm = small.run(capsys, [*without, "--sweep", "lr=0.1"])
    assert small.metrics(record)["top1_lr0p1_wd0"] == small.metrics(calm)["top1"]
    name = "heads.head_lr0p1_wd0.fc.weight"
    swept, lone = small.weights(tmp_path / "swept"), small.weights(tmp_path / "without")
    torch.testing.assert_close(swept[name], lone[name], rtol=1e-5, atol=1e-6)


def test_a_sweep_of_which_nothing_is_left_is_no_result(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    config = small.write_config(tmp_path / "recipe.py", "linear", epochs=6)
    line = small.words("linear", config, root, tmp_path)
    said = fails(capsys, [*line, "--sweep", "lr=3e38,3.1e38"])
    assert "diverged" in said
    assert not list((tmp_path / "results").rglob("*.json"))


@pytest.mark.parametrize("at", [4, 5, 7])
def test_the_checkpoint_that_is_named_is_a_good_one(
    at: int, tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    """Epochs have five steps: the rate explodes in the last of one, or later."""
    schedule = [
        {"type": "MultiStepLR", "by_epoch": False, "milestones": [at], "gamma": 3e39}
    ]
    config = small.write_config(
        tmp_path / "recipe.py", "linear", epochs=6, param_scheduler=schedule
    )
    said = fails(capsys, small.words("linear", config, root, tmp_path))
    match = re.search(r"the last good checkpoint is (\S+)", said)
    assert match is not None, said
    if match[1] == "none":
        return
    path = tmp_path / "run" / match[1]
    state = torch.load(path, weights_only=False)["state_dict"]
    assert all(value.isfinite().all() for value in state.values())


def test_features_are_sent_to_the_probe(tmp_path: Path, capsys: Capsys) -> None:
    with pytest.raises(UsageError, match="ssl-bench probe --features"):
        suite.evaluate(protocols="linear", features=tmp_path)
    said = fails(capsys, ["linear", "--features", str(tmp_path)])
    assert "unknown option '--features'" in said


def test_five_classes_have_a_top_5_and_a_run_its_own_place(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small.write_images(tmp_path / "images", (4,) * 6, (2, 1, 3, 1, 2, 2))
    config = small.write_config(tmp_path / "recipe.py", "linear")
    monkeypatch.chdir(tmp_path)
    line = small.words("linear", config, root, tmp_path)
    at = line.index("--work-dir")
    del line[at : at + 2]
    record = small.run(capsys, [*line, "--name", "a name"])

    assert [m["name"] for m in record["metrics"]] == ["top1", "top5", "top1_best"]
    assert record["metrics"][1]["value"] >= record["metrics"][0]["value"]
    (place,) = (tmp_path / "work_dirs" / "recipe").iterdir()
    assert place.name.endswith(f"_{record['key'][:8]}")
    with (place / "confusion_head.csv").open() as file:
        rows = [[int(n) for n in row[1:]] for row in list(csv.reader(file))[1:]]
    assert [sum(row) for row in rows] == [2, 1, 3, 1, 2, 2]


def test_no_global_generator_is_moved(
    tmp_path: Path, root: Path, capsys: Capsys
) -> None:
    config = small.write_config(tmp_path / "recipe.py", "linear", epochs=1)
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    python, drawn = random.getstate(), torch.get_rng_state()
    before: Any = np.random.get_state()
    small.run(capsys, small.words("linear", config, root, tmp_path))
    assert random.getstate() == python
    after: Any = np.random.get_state()
    assert np.array_equal(after[1], before[1])
    assert after[2:] == before[2:]
    assert torch.equal(torch.get_rng_state(), drawn)
