"""Our networks inside a detector: maps that are its tokens, and windows of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_bench import backbones
from ssl_bench.backbones import Backbone
from ssl_bench.errors import BenchError, ConfigError
from ssl_bench.openmmlab import stack
from ssl_bench.openmmlab.offered import offer_backbone
from ssl_bench.openmmlab.taps import BackboneTaps

pytestmark = pytest.mark.filterwarnings("ignore")

VIT = "vit_w64_d4_patch16_64"
SWIN = "swin_e24_d2-2-2-2_h1-2-4-8_patch4_window7_224"
SWIN_WIDE = "swin_e16_d2-2-2-2_h1-2-4-8_patch4_window4_256"
LAYERS = ("layer1", "layer2", "layer3", "layer4")


def taps_of(backbone: Backbone, taps: Sequence[str], **more: Any) -> BackboneTaps:
    offer_backbone(backbone)
    return BackboneTaps(arch=backbone.arch, taps=taps, **more).eval()


def images(height: int, width: int, count: int = 2) -> Tensor:
    draw = torch.Generator().manual_seed(height + width)
    return torch.randn(count, 3, height, width, generator=draw)


def lively(arch: str) -> Backbone:
    """Build a network whose every parameter moves its output."""
    backbone = backbones.build(arch, 2)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in backbone.parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            parameter.add_(0.1 * noise)
    return backbone


@pytest.mark.parametrize(
    ("arch", "prefix"),
    [
        (VIT, 1),
        ("vit_w64_d4_patch16_reg3_64", 4),
        ("vit_w64_d4_patch16_gap_64", 0),
        ("beit_w48_d4_patch16_64", 1),
        ("dinov3_w48_d4_patch16_reg4", 5),
    ],
)
def test_maps_are_the_tokens_row_by_row(arch: str, prefix: int) -> None:
    backbone = lively(arch)
    # Three rows of five patches: neither a square nor the size of the weights.
    size = (64, 64) if arch.startswith("beit") else (48, 80)
    given, taps = images(*size), ("block3", "block1", "final")
    rows, columns = size[0] // 16, size[1] // 16
    with torch.no_grad():
        tokens = backbone.forward_taps(given, taps)
        maps = taps_of(backbone, taps)(given)
    assert len(maps) == 3
    for tap, one in zip(taps, maps, strict=True):
        assert one.shape == (2, backbone.dims[tap], rows, columns)
        assert tokens[tap].shape[1] == prefix + rows * columns
        for row in range(rows):
            for column in range(columns):
                token = tokens[tap][:, prefix + row * columns + column]
                assert torch.equal(one[:, :, row, column], token)
        assert one.is_contiguous()


def test_maps_of_a_convolutional_network_are_its_own() -> None:
    backbone = lively("resnet18-w8")
    given = images(50, 70)
    with torch.no_grad():
        own = backbone.forward_taps(given, LAYERS)
        maps = taps_of(backbone, LAYERS)(given)
    for tap, one in zip(LAYERS, maps, strict=True):
        assert torch.equal(one, own[tap])
    assert [tuple(m.shape[2:]) for m in maps] == [(13, 18), (7, 9), (4, 5), (2, 3)]


@pytest.mark.parametrize(
    ("patch", "size", "whole"),
    [
        (16, (48, 80), (48, 80)),
        (16, (49, 79), (64, 80)),
        (16, (1, 33), (16, 48)),
        (14, (50, 70), (56, 70)),
    ],
)
def test_sizes_that_do_not_divide_into_patches(
    patch: int, size: tuple[int, int], whole: tuple[int, int]
) -> None:
    """Stretched to the next whole patches, so that the map covers the image."""
    backbone = lively(f"vit_w64_d4_patch{patch}_{4 * patch}")
    given = images(*size)
    stretched = nn.functional.interpolate(given, size=whole, mode="bilinear")
    wrapper = taps_of(backbone, ["block4"])
    with torch.no_grad():
        (found,) = wrapper(given)
        (expected,) = wrapper(stretched)
    assert found.shape[2:] == (whole[0] // patch, whole[1] // patch)
    assert torch.equal(found, expected)
    assert torch.equal(given, images(*size)), "the images stay"


def test_the_offered_network_stays_and_weights_are_not_copied() -> None:
    backbone = lively(VIT)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    wrapper = taps_of(backbone, ["block4"], drop_path_rate=0.5).train()
    with torch.no_grad():
        for parameter in wrapper.parameters():
            parameter.zero_()
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not any(type(m).__name__ == "DropPath" for m in backbone.modules())
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_drop_path_reaches_its_rate_in_the_last_block() -> None:
    wrapper = taps_of(lively(VIT), ["block4"], drop_path_rate=0.3)
    found = [
        getattr(block.drop_path1, "drop_prob", 0.0) for block in wrapper.network.blocks
    ]
    assert found == pytest.approx([0, 0.1, 0.2, 0.3])
    with pytest.raises(ConfigError, match="no branches"):
        taps_of(backbones.build("resnet18-w8", 0), LAYERS, drop_path_rate=0.1)


def step(wrapper: BackboneTaps) -> None:
    """Train one step with a head on every map."""
    heads = nn.ModuleList(
        nn.Conv2d(wrapper.network.dims[tap], 1, 1) for tap in wrapper.taps
    )
    trained = [p for p in wrapper.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD([*trained, *heads.parameters()], lr=0.5)
    maps = wrapper(images(64, 64))
    torch.stack(
        [head(one).square().mean() for head, one in zip(heads, maps, strict=True)]
    ).sum().backward()
    optimizer.step()
    assert all(head.weight.grad.abs().sum() > 0 for head in heads)


@pytest.mark.parametrize(
    ("arch", "taps"), [("resnet18-w8", LAYERS), (VIT, ("block2", "block4"))]
)
def test_a_frozen_network_stays_to_the_last_bit(
    arch: str, taps: tuple[str, ...]
) -> None:
    for frozen in (True, False):
        wrapper = taps_of(lively(arch), taps, frozen=frozen, drop_path_rate=0.0).train()
        before = {k: v.clone() for k, v in wrapper.state_dict().items()}
        step(wrapper)
        after = wrapper.state_dict()
        same = [torch.equal(after[name], before[name]) for name in before]
        assert all(same) if frozen else not any(same[:1])
        # Statistics of batch norms count too, which have no gradient.
        still = [v for n, v in zip(before, same, strict=True) if "running" in n]
        assert all(still) if frozen else not any(still)
        assert wrapper.training
        assert wrapper.network.training is not frozen
        assert any(p.requires_grad for p in wrapper.parameters()) is not frozen
    frozen_one = taps_of(lively(VIT), ["block4"], frozen=True, drop_path_rate=0.3)
    assert not any(type(m).__name__ == "DropPath" for m in frozen_one.modules())
    assert frozen_one.train().forward(images(64, 64))[0].requires_grad is False


@pytest.mark.parametrize(
    ("arch", "taps"),
    [
        (VIT, ("block1", "block2", "block3", "block4")),
        (VIT, ("final",)),
        ("vit_w64_d4_patch16_reg3_64", ("block4",)),
        ("vit_w64_d4_patch16_fcnorm_64", ("block4",)),
        ("beit_w48_d4_patch16_64", ("block2", "block4")),
        ("dinov3_w48_d4_patch16_reg4", ("block4",)),
        (SWIN_WIDE, LAYERS),
        ("convnext_d2.2.2.2_c8.16.32.64", LAYERS),
        ("resnet18-w8-cifar", LAYERS),
        ("efficientnet_b0", LAYERS),
        ("mobilenet_v2", LAYERS),
        ("clip_resnet50", LAYERS),
        # Not the last blocks either, where no tap needs them.
        (VIT, ("block1", "block3")),
        (SWIN_WIDE, LAYERS[:2]),
    ],
)
def test_every_parameter_that_is_trained_has_a_gradient(
    arch: str, taps: tuple[str, ...]
) -> None:
    """Several processes wait for one that never comes."""
    wrapper = taps_of(backbones.build(arch, 0), taps).train()
    maps = wrapper(images(64, 64))
    sum(one.square().mean() for one in maps).backward()
    trained = {n: p for n, p in wrapper.named_parameters() if p.requires_grad}
    assert trained
    assert [n for n, p in trained.items() if p.grad is None] == []


def test_the_mean_of_the_patches_is_no_map() -> None:
    wrapper = taps_of(lively("vit_w64_d4_patch16_fcnorm_64"), ["final"])
    with pytest.raises(BenchError, match=r"model\.backbone\.taps=block4"):
        wrapper(images(64, 64))


def test_fresh_weights_are_left_alone() -> None:
    wrapper = taps_of(lively(VIT), ["block4"], init_cfg={"type": "Normal"})
    before = {k: v.clone() for k, v in wrapper.state_dict().items()}
    wrapper.init_weights()
    for name, tensor in wrapper.state_dict().items():
        assert torch.equal(tensor, before[name])


def mmdetections(backbone: Backbone) -> nn.Module:
    """Return MMDetection's own Swin with the same weights, maps not normed.

    Its patches are merged in the order that unfolding gives: channel by channel.
    """
    stack.register("detect")
    from mmdet.models.backbones import SwinTransformer

    spec = backbones.parse(backbone.arch).options
    theirs = SwinTransformer(
        embed_dims=spec["embed"],
        depths=spec["depths"],
        num_heads=spec["heads"],
        window_size=spec["windows"][0],
        drop_path_rate=0.0,
    )
    theirs.eval()  # returns nothing
    for index in range(4):
        setattr(theirs, f"norm{index}", nn.Identity())
    found = {}
    words = {
        ".attn.qkv.": ".attn.w_msa.qkv.",
        ".attn.proj.": ".attn.w_msa.proj.",
        ".attn.relative_position_bias_table": (
            ".attn.w_msa.relative_position_bias_table"
        ),
        ".mlp.fc1.": ".ffn.layers.0.0.",
        ".mlp.fc2.": ".ffn.layers.1.",
        "patch_embed.proj.": "patch_embed.projection.",
    }
    for name, tensor in backbone.state_dict().items():
        if name.startswith("norm."):
            continue
        parts = name.split(".")
        if parts[0] == "layers":
            # A stage begins with its merging here, and ends with the next one's there.
            stage = int(parts[1]) - (parts[2] == "downsample")
            parts[:2] = ["stages", str(stage)]
        new = ".".join(parts)
        for ours, other in words.items():
            new = new.replace(ours, other)
        if "downsample" in new and tensor.shape[-1] % 4 == 0:
            # Ours: top left, bottom left, top right, bottom right, all channels each.
            corners = tensor.reshape(*tensor.shape[:-1], 4, -1)[..., [0, 2, 1, 3], :]
            tensor = corners.transpose(-1, -2).reshape(tensor.shape)
        found[new] = tensor
    left = theirs.load_state_dict(found, strict=False)
    assert left.unexpected_keys == []
    assert all(key.endswith("relative_position_index") for key in left.missing_keys)
    return theirs


@pytest.mark.parametrize("arch", [SWIN, SWIN_WIDE])
@pytest.mark.parametrize("size", [(160, 232), (224, 224), (97, 61), (33, 300)])
def test_windows_of_any_size_are_mmdetections(arch: str, size: tuple[int, int]) -> None:
    backbone = lively(arch)
    given = images(*size)
    with torch.no_grad():
        theirs = mmdetections(backbone)(given)
        ours = taps_of(backbone, LAYERS)(given)
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one.shape == other.shape, index
        assert one.abs().max() > 0.5
        assert (one - other).abs().max() < 1e-4, index


@pytest.mark.parametrize(
    ("arch", "size", "same"),
    [
        (SWIN_WIDE, 256, LAYERS),
        # The last map is one window, which is not shifted at 224, and is elsewhere, as
        # in MMDetection.
        (SWIN, 224, LAYERS[:3]),
    ],
)
def test_the_networks_own_size_before_and_after(
    arch: str, size: int, same: tuple[str, ...]
) -> None:
    backbone = lively(arch)
    given = images(size, size)
    with torch.no_grad():
        before = backbone.forward_taps(given, same)
        backbone.take_any_size()
        after = backbone.forward_taps(given, same)
    for tap in same:
        assert torch.allclose(before[tap], after[tap], atol=1e-5), tap


def test_a_swin_of_one_size_says_so_before() -> None:
    backbone = lively(SWIN)
    with pytest.raises(BenchError, match="windows for images of 224 x 224"):
        backbone.forward_taps(images(160, 232), LAYERS)
    backbone.take_any_size()
    with torch.no_grad():
        found = backbone.forward_taps(images(160, 232), LAYERS)
    assert [tuple(found[tap].shape[2:]) for tap in LAYERS] == [
        (40, 58),
        (20, 29),
        (10, 15),
        (5, 8),
    ]


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    wrapper = taps_of(lively(SWIN_WIDE), LAYERS)
    given = images(72, 88, 3)
    with torch.no_grad():
        together = wrapper(given)
        alone = wrapper(given[1:2])
        # Another shape in between, of as many windows: masks belong to a shape.
        turned = wrapper(images(88, 72))
        fresh = taps_of(lively(SWIN_WIDE), LAYERS)(images(88, 72))
        again = wrapper(given)
    assert all(map(torch.equal, turned, fresh))
    for one, single, later in zip(together, alone, again, strict=True):
        assert torch.allclose(one[1:2], single, atol=1e-5)
        assert torch.equal(one, later)


def test_a_swin_trains_at_sizes_that_come_and_go() -> None:
    wrapper = taps_of(lively(SWIN_WIDE), LAYERS).train()
    names = set(wrapper.state_dict())
    for height, width in ((64, 96), (72, 40), (64, 96)):
        wrapper.zero_grad()
        sum(one.square().mean() for one in wrapper(images(height, width))).backward()
        table = wrapper.network.layers[3].blocks[1].attn.relative_position_bias_table
        assert table.grad.abs().sum() > 0
    assert set(wrapper.state_dict()) == names, "masks are in no checkpoint"


@pytest.mark.parametrize(
    "arch",
    [
        "swinv2_e24_d2-2-2-2_h1-2-4-8_patch4_window8_256",
        "swin_e24_d2-2-2-2_h1-2-4-8_patch4_window7_ape_224",
    ],
)
def test_what_is_tied_to_one_size_refuses(arch: str) -> None:
    with pytest.raises(BenchError, match=r"is tied to images of .* take a Swin V1"):
        taps_of(backbones.build(arch, 0), LAYERS)


def test_maps_end_in_a_norm_where_the_recipe_says_so() -> None:
    backbone = lively(SWIN)
    raw = taps_of(backbone, LAYERS)(images(64, 96))
    normed = taps_of(backbone, LAYERS, norm_maps=True)(images(64, 96))
    for one, other in zip(raw, normed, strict=True):
        mean = one.mean(dim=1, keepdim=True)
        spread = one.var(dim=1, keepdim=True, unbiased=False)
        expected = (one - mean) / (spread + 1e-5).sqrt()
        assert torch.allclose(other, expected, atol=1e-5)
