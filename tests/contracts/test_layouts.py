"""What every checkpoint layout promises, on files as its producers write them.

The networks are the producers' own (timm, torchvision), drawn at random and perturbed;
OpenMMLab's files are composed of them by the naming tables of its own code, written
down here once more and the other way round.
"""

from __future__ import annotations

import functools
import random
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from ssl_bench import backbones, checkpoints, pooling
from ssl_bench.backbones import Backbone
from ssl_bench.checkpoints import matching, reader
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.errors import BenchError, CheckpointError

IMAGE = 32


@dataclass(frozen=True)
class Example:
    """A file's content, and what the producer computes with the encoders in it."""

    layout: str
    tree: Mapping[str, Any]
    networks: Mapping[str, nn.Module]
    default: str = "online"


EXAMPLES: dict[str, Callable[[], Example]] = {}


def example(build: Callable[[], Example]) -> Callable[[], Example]:
    kept = functools.cache(build)
    EXAMPLES[build.__name__] = kept
    return kept


class Pooled(nn.Module):
    """A producer's network, made to return its feature."""

    def __init__(self, network: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.features = forward

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)


def drawn(network: Any, seed: int) -> Any:
    """Give every tensor values of its own, whatever the network started with."""
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            tensor.fill_(7)
            continue
        noise = torch.randn(tensor.shape, generator=draw)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif tensor.ndim == 1 and not name.endswith(("bias", "mean")):
            tensor.copy_(1 + 0.1 * noise)
        else:
            tensor.copy_(0.05 * noise)
    return network.eval()


@functools.cache
def resnet(seed: int) -> Any:
    """torchvision's blocks at a quarter of the usual width."""
    network = torchvision.models.resnet18()
    network.inplanes = 16
    network.conv1 = nn.Conv2d(3, 16, 7, 2, 3, bias=False)
    network.bn1 = nn.BatchNorm2d(16)
    block = torchvision.models.resnet.BasicBlock
    for stage in range(4):
        made = network._make_layer(block, 16 << stage, 2, 2 if stage else 1)
        setattr(network, f"layer{stage + 1}", made)
    network.fc = nn.Linear(128, 5)
    return drawn(network, seed)


def resnet_feature(network: Any) -> nn.Module:
    def forward(images: Tensor) -> Tensor:
        children = list(network.children())[:-1]
        return nn.Sequential(*children)(images).flatten(1)

    return Pooled(network, forward)


def map_feature(network: Any) -> nn.Module:
    return Pooled(network, lambda images: network.forward_features(images).mean((2, 3)))


@functools.cache
def timm_vit(seed: int, **options: Any) -> Any:
    return drawn(
        timm.create_model(
            "vit_tiny_patch16_224", img_size=IMAGE, weight_init="skip", **options
        ),
        seed,
    )


def token_feature(network: Any) -> nn.Module:
    return Pooled(network, lambda images: network.forward_features(images)[:, 0])


def to_mm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename timm's keys to those of mmcls' and mmpretrain's VisionTransformer."""
    table = [
        (r"^patch_embed\.proj\.", "patch_embed.projection."),
        (r"^blocks\.(\d+)\.norm(\d)\.", r"layers.\1.ln\2."),
        (r"^blocks\.(\d+)\.attn\.", r"layers.\1.attn."),
        (r"^blocks\.(\d+)\.mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
        (r"^blocks\.(\d+)\.mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
        (r"^blocks\.(\d+)\.ls1\.gamma$", r"layers.\1.attn.gamma1.weight"),
        (r"^blocks\.(\d+)\.ls2\.gamma$", r"layers.\1.ffn.gamma2.weight"),
        (r"^norm\.", "ln1."),
    ]
    renamed = {}
    for key, tensor in state.items():
        if key.startswith("head."):
            continue
        for pattern, ours in table:
            if re.match(pattern, key):
                key = re.sub(pattern, ours, key)
                break
        renamed[key] = tensor
    return renamed


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def trunk(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if not key.startswith("fc.")}


def neck(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}0.weight": torch.ones(4, 4), f"{prefix}0.bias": torch.ones(4)}


@example
def torchvision_resnet18() -> Example:
    network = drawn(torchvision.models.resnet18(), 1)
    feature = resnet_feature(network)
    return Example("resnet_flat", network.state_dict(), {"online": feature})


@example
def timm_resnet18_training() -> Example:
    """timm's CheckpointSaver: the weights, their average, and the training's state."""
    online, ema = (drawn(timm.create_model("resnet18"), seed) for seed in (2, 3))
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    tree = {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": online.state_dict(),
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "state_dict_ema": ema.state_dict(),
    }
    networks = {"online": map_feature(online), "ema": map_feature(ema)}
    return Example("resnet_flat", tree, networks)


@example
def wrapped_resnet() -> Example:
    network = resnet(4)
    tree = {"model": under("module._orig_mod.", network.state_dict())}
    return Example("resnet_flat", tree, {"online": resnet_feature(network)})


@example
def only_the_average() -> Example:
    tree = {"model_ema": resnet(4).state_dict()}
    return Example("resnet_flat", tree, {"ema": resnet_feature(resnet(4))}, "ema")


@example
def timm_vit_flat() -> Example:
    network = timm_vit(5)
    tree = network.state_dict()
    return Example("timm_vit", tree, {"online": token_feature(network)})


@example
def timm_vit_in_model() -> Example:
    """DeiT's container, with layer scale and no class token."""
    network = timm_vit(
        6, class_token=False, global_pool="avg", fc_norm=False, init_values=0.1
    )
    feature = Pooled(network, lambda images: network.forward_features(images).mean(1))
    return Example("timm_vit", {"model": network.state_dict()}, {"online": feature})


@example
def torchvision_vit() -> Example:
    network = torchvision.models.VisionTransformer(
        image_size=IMAGE,
        patch_size=16,
        num_layers=12,
        num_heads=3,
        hidden_dim=192,
        mlp_dim=768,
    )
    tree = dict(drawn(network, 7).state_dict())
    network.heads = nn.Identity()
    return Example("torchvision_vit", tree, {"online": network})


@example
def mmselfsup_simclr() -> Example:
    """0.x: one backbone, a neck and a head."""
    state = under("backbone.", trunk(resnet(8).state_dict()))
    tree = {
        "meta": {"mmselfsup_version": "0.11.0", "epoch": 200},
        "state_dict": {**state, **neck("neck."), **neck("head.fc_cls.")},
        "optimizer": {"state": {}, "param_groups": []},
    }
    return Example("mmselfsup", tree, {"online": resnet_feature(resnet(8))})


@example
def mmselfsup_moco() -> Example:
    """0.x: the query encoder twice, the key encoder, a queue."""
    query, key = trunk(resnet(8).state_dict()), trunk(resnet(9).state_dict())
    state = {
        "queue": torch.ones(4, 8),
        "queue_ptr": torch.zeros(1, dtype=torch.long),
        **under("encoder_q.0.", query),
        **neck("encoder_q.1."),
        **under("encoder_k.0.", key),
        **neck("encoder_k.1."),
        **under("backbone.", query),
        **neck("neck."),
    }
    networks = {"online": resnet_feature(resnet(8)), "ema": resnet_feature(resnet(9))}
    return Example("mmselfsup", {"meta": {}, "state_dict": state}, networks)


@example
def mmselfsup_byol_without_alias() -> Example:
    state = {
        **under("online_net.0.", trunk(resnet(8).state_dict())),
        **neck("online_net.1."),
        **under("target_net.0.", trunk(resnet(9).state_dict())),
        **neck("target_net.1."),
        **neck("head.predictor."),
    }
    networks = {"online": resnet_feature(resnet(8)), "ema": resnet_feature(resnet(9))}
    return Example("mmselfsup", {"state_dict": state}, networks)


@example
def mmselfsup_simsiam() -> Example:
    state = {
        **under("module.encoder.0.", trunk(resnet(8).state_dict())),
        **neck("module.encoder.1."),
        **neck("module.head."),
    }
    return Example(
        "mmselfsup", {"state_dict": state}, {"online": resnet_feature(resnet(8))}
    )


@example
def mmselfsup_1x_moco() -> Example:
    """1.x: the average is a wrapped model with a counter."""
    state = {
        "data_preprocessor.mean": torch.ones(3, 1, 1),
        "queue": torch.ones(4, 8),
        **under("backbone.", trunk(resnet(8).state_dict())),
        **neck("neck."),
        "encoder_k.steps": torch.tensor(5),
        **under("encoder_k.module.0.", trunk(resnet(9).state_dict())),
        **neck("encoder_k.module.1."),
    }
    networks = {"online": resnet_feature(resnet(8)), "ema": resnet_feature(resnet(9))}
    return Example("mmselfsup", {"meta": {}, "state_dict": state}, networks)


@example
def mmengine_ema_hook() -> Example:
    """mmengine swaps before saving: ``state_dict`` holds the average."""
    online = under("module.backbone.", trunk(resnet(8).state_dict()))
    average = under("backbone.", trunk(resnet(9).state_dict()))
    tree = {
        "state_dict": {**average, **neck("head.layers.head.")},
        "ema_state_dict": {"steps": torch.tensor(9), **online, **neck("module.head.")},
    }
    networks = {"online": resnet_feature(resnet(8)), "ema": resnet_feature(resnet(9))}
    return Example("mmselfsup", tree, networks, "ema")


@example
def mmselfsup_mae() -> Example:
    state = {
        **under("backbone.", to_mm(timm_vit(5).state_dict())),
        "neck.mask_token": torch.ones(1, 1, 8),
        **neck("neck.decoder_embed."),
    }
    tree = {"state_dict": state, "message_hub": {"log_scalars": {}}}
    return Example("mmselfsup", tree, {"online": token_feature(timm_vit(5))})


@example
def mmselfsup_mocov3() -> Example:
    """Its transformers have 12 heads at any width, where timm's grow with it."""
    online, ema = (timm_vit(seed, num_heads=12) for seed in (10, 11))
    state = {
        **under("backbone.", to_mm(online.state_dict())),
        **under("base_encoder.0.", to_mm(online.state_dict())),
        **neck("base_encoder.1."),
        **under("momentum_encoder.0.", to_mm(ema.state_dict())),
        **neck("momentum_encoder.1."),
        **neck("head.predictor."),
    }
    networks = {"online": token_feature(online), "ema": token_feature(ema)}
    return Example("mmselfsup", {"state_dict": state}, networks)


@example
def extracted_mm_vit() -> Example:
    network = timm_vit(12, init_values=0.1)
    tree = {"state_dict": to_mm(network.state_dict()), "author": "MMSelfSup"}
    return Example("mmselfsup_vit", tree, {"online": token_feature(network)})


@example
def extracted_mm_resnet() -> Example:
    tree = {"state_dict": trunk(resnet(8).state_dict()), "author": "OpenSelfSup"}
    return Example("resnet_flat", tree, {"online": resnet_feature(resnet(8))})


@example
def our_own() -> Example:
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "in.pth"), Path(folder, "out.pth")
        torch.save({"state_dict": resnet(8).state_dict()}, raw)
        checkpoints.save(checkpoints.load(raw), out)
        saved = torch.load(out, weights_only=True)
    return Example("ssl_bench", saved, {"online": resnet_feature(resnet(8))})


@pytest.fixture(params=list(EXAMPLES))
def case(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]()


def payload_of(tree: Any) -> Payload:
    return Payload(tree, "model.pth", "model.pth", "0" * 64)


def load_tree(
    tree: Any, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> backbones.BackboneWeights:
    """Load a tree as if it had been read from a file."""
    monkeypatch.setattr(reader, "read", lambda path: payload_of(tree))
    return checkpoints.load("model.pth", **options)


def feature(backbone: Backbone, images: Tensor) -> Tensor:
    final = backbone.forward_taps(images, ("final",))["final"]
    return pooling.pool(final, pooling.pooling_kind(backbone, "final"), backbone)


def test_every_layout_has_an_example() -> None:
    tried = {build().layout for build in EXAMPLES.values()}
    assert tried == set(checkpoints.layouts())


@pytest.mark.parametrize("name", list(checkpoints.layouts()))
def test_every_layout_names_its_producers(name: str) -> None:
    module = checkpoints.layouts()[name]
    assert module.PRODUCERS
    assert module.__doc__
    assert module.read(payload_of({"nothing": torch.ones(1)})) is None
    assert module.read(payload_of("text")) is None


def test_exactly_one_layout_fits(case: Example) -> None:
    found = matching.candidates(payload_of(case.tree))
    assert list(found) == [case.layout]
    assert set(found[case.layout].encoders) == set(case.networks)
    assert found[case.layout].default == case.default


@torch.inference_mode()
def test_features_are_the_producers_own(case: Example, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(case.tree, path)
    images = torch.randn(3, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(1))
    for encoder, network in case.networks.items():
        made = checkpoints.load_backbone(path, encoder=encoder)
        expected = network(images)
        got = feature(made, images)
        assert (got - expected).norm() / expected.norm() < 1e-5, encoder
        assert made.weights is not None
        assert made.weights.encoder == encoder
        assert made.weights.coverage.percent == 100.0
        assert not made.weights.partial
    default = checkpoints.load(path)
    assert default.encoder == case.default


@torch.inference_mode()
def test_every_key_of_the_file_is_accounted_for(case: Example) -> None:
    for encoder in matching.match(payload_of(case.tree))[1].encoders.values():
        dropped = [key for keys in encoder.dropped.values() for key in keys]
        state = case.tree
        for name in ("state_dict", "model", "model_ema"):
            if isinstance(state.get(name), Mapping):
                state = state[name]
                break
        if set(encoder.names.values()) <= set(state):
            assert set(state) <= set(encoder.names.values()) | set(dropped)


def some(names: list[str]) -> list[str]:
    """Return the first, the last and a few keys between, counters left out."""
    names = [name for name in names if not name.endswith("num_batches_tracked")]
    draw = random.Random(0)
    return [names[0], names[-1], *draw.sample(names[1:-1], 3)]


def damaged(
    case: Example, change: Callable[[dict[str, Any], str], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the file with one key of its default encoder changed, key after key."""
    reading = matching.match(payload_of(case.tree))[1]
    for key in some(list(reading.encoders[case.default].names.values())):
        tree = {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in case.tree.items()
        }
        places = [tree, *(value for value in tree.values() if isinstance(value, dict))]
        place = next(found for found in places if key in found)
        change(place, key)
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
    case: Example, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, tree in damaged(case, change):
        with pytest.raises(CheckpointError) as caught:
            load_tree(tree, monkeypatch)
        assert "\n" not in str(caught.value)
        if change is spoil and "ssl_bench" not in case.layout:
            text = str(caught.value)
            assert "NaN" in text or "differ" in text, key


def test_a_surplus_key_is_refused_and_named(
    case: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = matching.match(payload_of(case.tree))[1]
    key = next(iter(reading.encoders[case.default].names.values()))
    surplus = f"{key.rpartition('.')[0]}.surplus".lstrip(".")
    for _, tree in damaged(case, lambda place, key: None):
        places = [tree, *(value for value in tree.values() if isinstance(value, dict))]
        next(found for found in places if key in found)[surplus] = torch.ones(2)
        with pytest.raises(CheckpointError, match="surplus"):
            load_tree(tree, monkeypatch)
        break


def test_a_forced_layout_has_to_fit(
    case: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_tree(case.tree, monkeypatch, layout=case.layout).arch
    other = "torchvision_vit" if case.layout != "torchvision_vit" else "timm_vit"
    with pytest.raises(CheckpointError, match=f"has not the layout {other}"):
        load_tree(case.tree, monkeypatch, layout=other)


def test_a_wrong_architecture_is_refused(
    case: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BenchError, match=r"not of resnet101; leave --arch out"):
        load_tree(case.tree, monkeypatch, arch="resnet101")
    arch = load_tree(case.tree, monkeypatch).arch
    assert load_tree(case.tree, monkeypatch, arch=arch).arch == arch
