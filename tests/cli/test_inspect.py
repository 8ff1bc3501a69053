"""``ssl-bench inspect``: what it shows, what it says to type, what it leaves unread."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_bench import backbones, checkpoints
from ssl_bench.checkpoints import reader
from ssl_bench.cli import main
from tests import producers
from tests.producers.example import EXAMPLES, drawn, under

producers.load_all()


def network(seed: int) -> dict[str, Tensor]:
    return dict(drawn(backbones.build("resnet18-w4", 1), seed).state_dict())


def looked_at(
    tree: Any, path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], str]:
    """Save a tree, inspect it, and return the JSON and the text."""
    torch.save(tree, path)
    assert main(["inspect", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert main(["inspect", str(path)]) == 0
    return facts, capsys.readouterr().out


def moco() -> dict[str, Any]:
    """MoCo's file, by hand: 120 tensors a network, 3 beside them."""
    return {
        "epoch": 200,
        "arch": "resnet18",
        "state_dict": {
            **under("module.encoder_q.", network(1)),
            **under("module.encoder_k.", network(2)),
            "module.queue": torch.ones(128, 16),
            "module.queue_ptr": torch.zeros(1, dtype=torch.long),
        },
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.03}]},
    }


def test_it_shows_containers_prefixes_and_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts, text = looked_at(moco(), tmp_path / "moco.pth", capsys)
    (container,) = facts["containers"]
    one = sum(tensor.numel() for tensor in network(1).values())
    counters = 20
    assert container["path"] == "state_dict"
    assert container["tensors"] == 120 + 120 + 2
    assert container["numbers"] == 2 * one + 128 * 16 + 1
    assert container["bytes"] == 4 * (2 * one + 128 * 16) + 4 * 2 * counters + 8
    parts = {part["prefix"]: part["tensors"] for part in container["prefixes"]}
    assert parts == {
        "module.encoder_q.": 120,
        "module.encoder_k.": 120,
        "module.queue": 1,
        "module.queue_ptr": 1,
    }
    assert facts["entries"]["epoch"] == "200"
    assert facts["entries"]["arch"] == "resnet18"
    rows = [line.split() for line in text.splitlines()]
    assert ["module.queue", "1", "2,048", "8.19", "KB"] in rows
    assert ["epoch", "200"] in rows


def test_it_names_the_layout_its_networks_and_the_lines_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "moco.pth"
    facts, text = looked_at(moco(), path, capsys)
    first = facts["candidates"][0]
    assert first["layout"] == "moco"
    assert first["unexplained_count"] == 0
    assert [
        (n["encoder"], n["default"], n["prefix"], n["arch"], n["missing_count"])
        for n in first["networks"]
    ] == [
        ("online", True, "module.encoder_q.", "resnet18-w4", 0),
        ("ema", False, "module.encoder_k.", "resnet18-w4", 0),
    ]
    assert {place["prefix"] for place in facts["networks"]} == {
        "state_dict.module.encoder_q.",
        "state_dict.module.encoder_k.",
    }
    assert facts["type"] == [
        f"ssl-bench extract {path} OUT.pth",
        f"ssl-bench extract {path} OUT.pth --encoder ema",
    ]
    assert "moco: explains every key" in text
    assert_lines_work(facts["type"])


def assert_lines_work(lines: list[str]) -> None:
    """Type every line, without writing anything."""
    for line in lines:
        words = [word for word in shlex.split(line)[1:] if word != "OUT.pth"]
        assert main([*words, "--dry-run"]) == 0, line


def test_several_networks_below_unknown_prefixes_get_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = {**under("left eye.", network(1)), **under("right.", network(2))}
    facts, text = looked_at(tree, tmp_path / "eyes.pth", capsys)
    assert facts["candidates"] == []
    assert "none knows this file" in text
    assert [(p["prefix"], p["arch"], p["names"]) for p in facts["networks"]] == [
        ("left eye.", "resnet18-w4", "resnet_flat"),
        ("right.", "resnet18-w4", "resnet_flat"),
    ]
    assert len(facts["type"]) == 2
    assert "--prefix 'left eye.'" in facts["type"][0]
    assert_lines_work(facts["type"])


def test_what_is_unexplained_or_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = network(1)
    state["layer1.0.surprise.weight"] = state.pop("layer1.0.conv1.weight")
    facts, text = looked_at(state, tmp_path / "a.pth", capsys)
    first = facts["candidates"][0]
    assert first["unexplained"] == ["layer1.0.surprise.weight"]
    assert first["networks"][0]["missing"] == ["layer1.0.conv1.weight"]
    assert "leaves 1 keys unexplained: layer1.0.surprise.weight" in text
    assert "1 missing or of another shape: layer1.0.conv1.weight" in text
    assert facts["type"][-1].endswith("--allow-partial")
    assert_lines_work(facts["type"][-1:])


def test_settings_of_foreign_classes_are_readable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace = argparse.Namespace(arch="resnet18", lr=0.03, sizes=[224, 96], deep={})
    tree = {"state_dict": network(1), "args": namespace, "path": Path("/data/in1k")}
    facts, text = looked_at(tree, tmp_path / "a.pth", capsys)
    shown = facts["entries"]
    assert shown["args.arch"] == "resnet18"
    assert shown["args.lr"] == "0.03"
    assert shown["args.sizes"] == "[224, 96]"
    assert shown["args.deep"] == "dict of 0"
    assert shown["path"] == "/data/in1k"
    assert "args.arch" in text


def test_settings_of_networks_that_were_pickled_whole_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = nn.Conv2d(3, 5, 3, stride=2)
    facts, _ = looked_at({"net": whole}, tmp_path / "a.pth", capsys)
    assert facts["entries"]["net.in_channels"] == "3"
    assert facts["entries"]["net.stride"] == "[2, 2]"
    (container,) = facts["containers"]
    assert (container["path"], container["tensors"]) == ("net", 2)
    facts, _ = looked_at(whole, tmp_path / "b.pth", capsys)
    assert facts["entries"]["out_channels"] == "5"
    assert facts["containers"][0]["numbers"] == 5 * 3 * 9 + 5


def test_the_state_of_an_optimiser_counts_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    adam = torch.optim.AdamW(layers.parameters())
    layers(torch.ones(1, 3)).sum().backward()
    adam.step()
    tree = {"model": network(1), "optimizer": adam.state_dict()}
    facts, _ = looked_at(tree, tmp_path / "a.pth", capsys)
    rows = {row["path"]: row for row in facts["containers"]}
    assert rows.keys() == {"model", "optimizer.state.*"}
    state = rows["optimizer.state.*"]
    numbers = 3 * 4 + 4 + 4 * 2 + 2
    # Two averages of every parameter, and a count of steps for each of the four.
    assert (state["dicts"], state["tensors"]) == (4, 12)
    assert state["numbers"] == 2 * numbers + 4
    assert facts["entries"] == {
        "optimizer.state": "dict of 4: 0, 1, 2, 3",
        "optimizer.param_groups": "list of 1",
    }


def test_foreign_text_cannot_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b]0;mine\x07\x1b[31m\u202e\r"
    tree = {
        "state_dict": {**network(1), f"{evil}.weight": torch.ones(2)},
        f"{evil}name": evil,
        "args": argparse.Namespace(**{evil: evil, "long": "x" * 10_000}),
        "listed": [evil],
    }
    facts, text = looked_at(tree, tmp_path / "a.pth", capsys)
    assert all(c == "\n" or c.isprintable() for c in text + str(facts))
    assert "?]0;mine?" in text
    assert max(map(len, text.splitlines())) < 500


def test_a_file_with_nothing_to_extract_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts, text = looked_at({"epoch": 3}, tmp_path / "a.pth", capsys)
    assert facts["containers"] == facts["type"] == []
    assert "no tensors in it" in text
    assert "nothing to extract" in text
    facts, text = looked_at({"thing.weight": torch.ones(3)}, tmp_path / "b.pth", capsys)
    assert facts["type"] == []
    assert "no network of a known kind" in text


def test_our_own_files_and_damaged_provenance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(network(1), tmp_path / "in.pth")
    checkpoints.save(checkpoints.load(tmp_path / "in.pth"), tmp_path / "out.pth")
    tree = torch.load(tmp_path / "out.pth", weights_only=True)
    facts, _ = looked_at(tree, tmp_path / "out.pth", capsys)
    assert [candidate["layout"] for candidate in facts["candidates"]] == ["ssl_bench"]
    assert facts["entries"]["meta.source"] == "in.pth"
    del tree["meta"]["sha256"]
    facts, text = looked_at(tree, tmp_path / "out.pth", capsys)
    assert "provenance is damaged" in facts["candidates"][0]["error"]
    assert "provenance is damaged" in text


def test_metadata_of_safetensors_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(network(1), tmp_path / "in.pth")
    checkpoints.save(checkpoints.load(tmp_path / "in.pth"), tmp_path / "a.safetensors")
    assert main(["inspect", str(tmp_path / "a.safetensors")]) == 0
    text = capsys.readouterr().out
    assert "(the file)" in text
    assert "ssl_bench: explains every key" in text
    assert "provenance" in text


def test_a_folder_is_its_newest_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for epoch in (1, 2):
        torch.save({"state_dict": network(epoch)}, tmp_path / f"epoch_{epoch}.pth")
    assert main(["inspect", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("epoch_2.pth")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        (b"", "empty"),
        (b"<html>not found</html>", "web page"),
        (b"PK\x03\x04" + bytes(40), "cannot be used"),
    ],
)
def test_a_broken_file_is_one_line(
    content: bytes | None,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "a.pth"
    if content is not None:
        path.write_bytes(content)
    assert main(["inspect", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


WHOLE = [
    "timm_vit_flat",
    "mmselfsup_0x_mocov1",
    "openmmlab_ema_hook",
    "detectron2_pkl",
    "dinov3_hub",
    "pickled_in_a_container",
    "torchvision_swin_v2",
    "unforeseen_teacher",
]


@pytest.mark.parametrize("name", WHOLE)
def test_producers_are_recognised(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = EXAMPLES[name]()
    facts, _ = looked_at(example.tree, tmp_path / "a.pth", capsys)
    first = facts["candidates"][0]
    assert first["layout"] == example.layout
    assert first["unexplained_count"] == 0
    assert {
        n["encoder"]: n["missing_count"] for n in first["networks"]
    } == dict.fromkeys(example.networks, 0)
    (default,) = [n["encoder"] for n in first["networks"] if n["default"]]
    assert default == example.default
    assert all(place["arch"] for place in facts["networks"])


MEMORY = """
import sys
from pathlib import Path
from ssl_bench.cli import main

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

main(["inspect", sys.argv[1]])
Path("/proc/self/clear_refs").write_text("5")
before = peak()
main(["inspect", sys.argv[2]])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak")
def test_no_numbers_are_read(tmp_path: Path) -> None:
    """Pages of a mapped file count as memory once somebody looks at them."""
    small, big = moco(), moco()
    big["state_dict"]["module.queue"] = torch.zeros(128, 400_000)
    for name, tree in (("small.pth", small), ("big.pth", big)):
        torch.save(tree, tmp_path / name)
    size_kb = (tmp_path / "big.pth").stat().st_size // 1024
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "small.pth", tmp_path / "big.pth"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout.splitlines()[-1]) < size_kb // 10


def test_a_folder_is_looked_at_without_reading_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = backbones.build("resnet18-w4", 1).state_dict()
    torch.save(state, tmp_path / "epoch_1.pth")
    whole = (tmp_path / "epoch_1.pth").read_bytes()
    (tmp_path / "epoch_2.pth").write_bytes(whole[:-500])

    def refuse(path: Path, **options: Any) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(reader, "read", refuse)
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "epoch_1.pth"
