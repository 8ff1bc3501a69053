"""What every checkpoint layout promises, on files as its producers write them.

The files are built in `tests.producers`, with the producer's own network beside each.
"""

from __future__ import annotations

import ast
import dataclasses
import random
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_bench import backbones, checkpoints, pooling
from ssl_bench.backbones import Backbone
from ssl_bench.checkpoints import matching, reader, recipe, sorting
from ssl_bench.checkpoints.layout import Encoder
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.errors import BenchError, CheckpointError
from tests import producers
from tests.producers.example import EXAMPLES, Example

producers.load_all()
OWN = "ssl_bench"
DAMAGED = 4
"""How many keys of a file are damaged, one after the other."""


@dataclass(frozen=True)
class Case(Example):
    """An example as our reader finds it in the file that torch writes."""

    path: Path = Path()


@pytest.fixture(params=list(EXAMPLES), scope="module")
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    """One example after the other: some are large, so that none outlives its tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = EXAMPLES[request.param]()
    path = tmp_path_factory.mktemp("written") / "model.pth"
    torch.save(made.tree, path)
    fields = {
        field.name: getattr(made, field.name) for field in dataclasses.fields(made)
    }
    fields["tree"] = as_dicts(reader.read(path).tree)
    yield Case(**fields, path=path)
    path.unlink()


def as_dicts(tree: Any) -> Any:
    """Return what a file holds with networks that were pickled whole as state dicts."""
    tree = sorting.opened(tree)
    if not isinstance(tree, Mapping):
        return tree
    return {key: as_dicts(value) for key, value in tree.items()}


def payload_of(tree: Any) -> Payload:
    return Payload(tree, "model.pth", "model.pth", "0" * 64)


def load_tree(
    case: Case, tree: Any, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> backbones.BackboneWeights:
    """Load a tree as if it had been read from a file."""
    monkeypatch.setattr(reader, "read", lambda path: payload_of(tree))
    return checkpoints.load("model.pth", **{**case.options, **options})


def match(case: Case) -> matching.Match:
    options = {k: v for k, v in case.options.items() if k in ("producer", "prefix")}
    return matching.match(payload_of(case.tree), **options)


def feature(backbone: Backbone, images: Tensor) -> Tensor:
    final = backbone.forward_taps(images, ("final",))["final"]
    return pooling.pool(final, pooling.pooling_kind(backbone, "final"), backbone)


def test_every_layout_has_an_example() -> None:
    tried = set()
    for file in Path(producers.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Example":
                tried |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
    assert tried >= set(checkpoints.layouts())


@pytest.mark.parametrize("name", list(checkpoints.layouts()))
def test_every_layout_names_its_producers(name: str) -> None:
    module = checkpoints.layouts()[name]
    assert module.__doc__
    names = [producer.name for producer in module.PRODUCERS]
    assert names
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z0-9_]+", name) for name in names)
    assert recipe.read(module, payload_of({"nothing": torch.ones(1)})) is None
    assert recipe.read(module, payload_of("text")) is None


def test_exactly_one_layout_explains_the_file(case: Case) -> None:
    found = matching.candidates(payload_of(case.tree))
    explaining = [name for name, reading in found.items() if not reading.unexplained]
    assert explaining == [case.layout]
    reading = found[case.layout]
    assert set(reading.encoders) == set(case.networks)
    assert (match(case).producer.encoder or reading.default) == case.default


@torch.inference_mode()
def test_features_are_the_producers_own(case: Case, tmp_path: Path) -> None:
    path = case.path
    size = (3, 3, case.image, case.image)
    images = torch.randn(size, generator=torch.Generator().manual_seed(1))
    for encoder, network in case.networks.items():
        made = checkpoints.load_backbone(path, encoder=encoder, **case.options)
        expected = network(images)
        got = feature(made, images)
        assert got.shape == expected.shape
        assert (got - expected).norm() / expected.norm() < 1e-5, encoder
        assert made.weights is not None
        assert made.weights.encoder == encoder
        assert made.weights.coverage.percent == 100.0
        assert not made.weights.partial
        spec = made.weights.spec
        assert backbones.parse(spec.name).name == spec.name
        path_out = tmp_path / f"{encoder}.pth"
        checkpoints.save(made.weights, path_out)
        again = checkpoints.load_backbone(path_out)
        torch.testing.assert_close(feature(again, images), got, rtol=0, atol=0)
    assert checkpoints.load(path, **case.options).encoder == case.default


def test_every_key_of_the_file_is_accounted_for(case: Case) -> None:
    for encoder in match(case).reading.encoders.values():
        dropped = {key for keys in encoder.dropped.values() for key in keys}
        taken = {key for keys in encoder.names.values() for key in keys}
        assert not encoder.unknown
        assert not taken & dropped
        places = [case.tree]
        while places:
            tree = places.pop()
            if not isinstance(tree, Mapping):
                continue
            if taken & set(tree):
                there = {k for k, value in tree.items() if isinstance(value, Tensor)}
                assert there <= taken | dropped
            places += list(tree.values())


def some(names: list[str]) -> list[str]:
    """Return the first, the last and a few keys between, counters left out."""
    names = [name for name in names if not name.endswith("num_batches_tracked")]
    draw = random.Random(0)
    return [names[0], names[-1], *draw.sample(names[1:-1], DAMAGED - 2)]


def copied(tree: Any) -> Any:
    """Return the dictionaries of a tree anew, down to the tensors."""
    if not isinstance(tree, Mapping):
        return tree
    return {key: copied(value) for key, value in tree.items()}


def local(place: Mapping[str, Any], key: str) -> str | None:
    """Return a key, or the end of its path, as it stands in a dictionary."""
    parts = key.split(".")
    ends = (".".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if isinstance(place.get(end), Tensor)), None)


def network_of(case: Case) -> Encoder:
    found = match(case)
    return found.reading.encoders[case.default]


def container_of(case: Case, tree: Any, keys: Iterable[str]) -> dict[str, Any]:
    """Return the dictionary in which all keys of the default network lie."""
    places, found = [tree], []
    while places:
        place = places.pop(0)
        if isinstance(place, dict):
            if all(local(place, key) for key in keys):
                found.append(place)
            places += place.values()
    ours = {id(tensor) for tensor in network_of(case).tensors.values()}
    return max(found, key=lambda place: len(ours & set(map(id, place.values()))))


def damaged(
    case: Case, change: Callable[[dict[str, Any], str], None]
) -> Iterator[tuple[str, Any]]:
    """Yield the file with one key of its default network changed, key after key."""
    encoder = network_of(case)
    keys = [key for parts in encoder.names.values() for key in parts]
    for key in some(keys):
        tree = copied(case.tree)
        place = container_of(case, tree, keys)
        change(place, str(local(place, key)))
        yield key, tree


def remove(place: dict[str, Any], key: str) -> None:
    del place[key]


def rename(place: dict[str, Any], key: str) -> None:
    place[f"{key[:-1]}_"] = place.pop(key)


def reshape(place: dict[str, Any], key: str) -> None:
    place[key] = torch.cat([place[key], place[key]], dim=-1)


def spoil(place: dict[str, Any], key: str) -> None:
    place[key] = place[key].clone()
    place[key].view(-1)[0] = float("nan")


@pytest.mark.parametrize("change", [remove, rename, reshape, spoil])
def test_a_changed_key_is_refused(
    case: Case, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, tree in damaged(case, change):
        with pytest.raises(CheckpointError) as caught:
            load_tree(case, tree, monkeypatch)
        assert "\n" not in str(caught.value)
        if change is spoil and case.layout != OWN:
            text = str(caught.value)
            assert "NaN" in text or "differ" in text, key


def test_a_zeroed_weight_is_refused(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = network_of(case)
    spec = load_tree(case, case.tree, monkeypatch).spec
    weights = [name for name, role in backbones.roles(spec).items() if role == "weight"]
    keys = [key for parts in encoder.names.values() for key in parts]
    for name in [weights[0], weights[len(weights) // 2], weights[-1]]:
        tree = copied(case.tree)
        place = container_of(case, tree, keys)
        for key in encoder.names[name]:
            there = str(local(place, key))
            place[there] = torch.zeros_like(place[there])
        with pytest.raises(CheckpointError, match=r"throughout|differ|changed"):
            load_tree(case, tree, monkeypatch)


def test_a_surplus_key_is_refused_and_named(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key for parts in network_of(case).names.values() for key in parts]
    tree = copied(case.tree)
    place = container_of(case, tree, keys)
    first = str(local(place, keys[0]))
    place[f"{first.rpartition('.')[0]}.surplus".lstrip(".")] = torch.ones(2)
    with pytest.raises(CheckpointError, match="surplus"):
        load_tree(case, tree, monkeypatch)


def test_a_forced_layout_has_to_fit(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.layout != "structure":
        assert load_tree(case, case.tree, monkeypatch, layout=case.layout).arch
    other = "torchvision_vit" if case.layout != "torchvision_vit" else "timm_vit"
    with pytest.raises(
        BenchError, match=f"has not the layout {other}|unknown producer"
    ):
        load_tree(case, case.tree, monkeypatch, layout=other)


def test_a_wrong_architecture_is_refused(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BenchError, match=r"not of resnet101; leave --arch out"):
        load_tree(case, case.tree, monkeypatch, arch="resnet101")
    arch = load_tree(case, case.tree, monkeypatch).arch
    assert load_tree(case, case.tree, monkeypatch, arch=arch).arch == arch
