"""Pooling, by hand arithmetic."""

from __future__ import annotations

import pytest
import torch

from ssl_bench import pooling
from ssl_bench.backbones import Backbone, build
from ssl_bench.backbones.backbone import AVERAGE, CLASS_TOKEN, PATCH_MEAN
from ssl_bench.errors import BenchError


class Tokens:
    tap_pooling = "patch_mean"
    num_prefix_tokens = 1


def test_a_map_is_averaged_over_its_pixels() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 4.0]]]])
    assert torch.equal(pooling.global_average(maps), torch.tensor([[3.0, 1.0]]))


def test_sums_are_taken_in_float32() -> None:
    """In bf16, 256 + 1 is 256: a sum in that type would stand still."""
    maps = torch.ones(1, 1, 32, 32, dtype=torch.bfloat16)
    maps[..., 0, 0] = 256
    pooled = pooling.global_average(maps)
    assert pooled.dtype == torch.float32
    assert pooled.item() == (256 + 1023) / 1024


def test_tokens() -> None:
    tokens = torch.tensor([[[9.0, 8.0], [1.0, 2.0], [3.0, 6.0]]])
    assert torch.equal(pooling.class_token(tokens), torch.tensor([[9.0, 8.0]]))
    assert torch.equal(pooling.patch_mean(tokens, 1), torch.tensor([[2.0, 4.0]]))
    assert torch.equal(pooling.patch_mean(tokens, 2), torch.tensor([[3.0, 6.0]]))
    assert torch.equal(
        pooling.pool(tokens, "patch_mean", Tokens()), torch.tensor([[2.0, 4.0]])
    )
    assert torch.equal(
        pooling.pool(tokens, "class_token", Tokens()), torch.tensor([[9.0, 8.0]])
    )


@pytest.mark.parametrize(
    ("arch", "kind"),
    [
        ("resnet18-w4", "average"),
        ("vit_tiny_patch16_32", "class_token"),
        ("vit_tiny_patch16_gap_32", "patch_mean"),
    ],
)
def test_the_network_says_how_its_taps_are_pooled(arch: str, kind: str) -> None:
    backbone: Backbone = build(arch, 0)
    assert {pooling.pooling_kind(backbone, tap) for tap in backbone.dims} == {kind}
    taps = backbone.forward_taps(torch.zeros(2, 3, 32, 32), tuple(backbone.dims))
    for tap, value in taps.items():
        assert pooling.pool(value, kind, backbone).shape == (2, backbone.dims[tap])


@pytest.mark.parametrize(
    ("shape", "kind", "said"),
    [
        ((2, 3), "average", r"shape \(B, C, H, W\), got \(2, 3\)"),
        ((2, 3, 4, 4), "class_token", r"shape \(B, T, D\), got \(2, 3, 4, 4\)"),
        ((2, 0, 4), "class_token", r"got \(2, 0, 4\)"),
        ((2, 1, 4), "patch_mean", "1 tokens, of which 1 are no patches"),
        ((2, 3, 4), "class-token", "Did you mean 'class_token'"),
        ((2, 3, 9, 9), "average_6_1", "Did you mean 'average_6_1_0'"),
        ((2, 3, 9, 9), "adaptive_5", "Did you mean 'adaptive_"),
        ((2, 3), "average_6_1_0", r"shape \(B, C, H, W\), got \(2, 3\)"),
        ((2, 3, 4), "adaptive_2", r"shape \(B, C, H, W\), got \(2, 3, 4\)"),
        ((2, 3, 5, 9), "average_6_1_0", "a map of 5 x 9 pixels is smaller than .* 6"),
    ],
)
def test_what_cannot_be_pooled(shape: tuple[int, ...], kind: str, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        pooling.pool(torch.zeros(shape), kind, Tokens())


# Source: the table of MMSelfSup 0.x, mmselfsup/models/utils/multi_pooling.py, typed by
# hand: feature, tap, channels, edge of the map at 224 px, window, edge of the result.
TABLE = [
    ("feat1", "stem", 64, 112, (10, 10, 4), 12),
    ("feat2", "layer1", 256, 56, (16, 8, 0), 6),
    ("feat3", "layer2", 512, 28, (13, 5, 0), 4),
    ("feat4", "layer3", 1024, 14, (8, 3, 0), 3),
    ("feat5", "layer4", 2048, 7, (6, 1, 0), 2),
]
EXACT = [
    "average_10_10_4",
    "average_16_8_0",
    "average_13_5_0",
    "average_8_3_0",
    "average_6_1_0",
]
FEATURES = [row[0] for row in TABLE]


@pytest.mark.parametrize(("row", "kind"), list(zip(TABLE, EXACT, strict=True)))
def test_windows_are_those_of_torch_with_padding_counted(
    row: tuple[str, str, int, int, tuple[int, int, int], int], kind: str
) -> None:
    _, _, _, edge, window, size = row
    torch.manual_seed(0)
    maps = torch.rand(2, 3, edge, edge) + 1  # all positive: a zero of padding shows
    maps = maps.to(memory_format=torch.channels_last)
    module = torch.nn.AvgPool2d(*window)
    assert module.count_include_pad
    expected = module(maps)
    assert expected.shape == (2, 3, size, size)
    pooled = pooling.pool(maps, kind, Tokens())
    assert torch.equal(pooled, torch.flatten(expected, 1))
    assert pooled.dtype == torch.float32


def test_padding_counts_by_hand() -> None:
    """The first window of the stem holds 6 x 6 pixels and 64 zeros."""
    pooled = pooling.pool(torch.ones(1, 1, 112, 112), "average_10_10_4", Tokens())
    assert pooled[0, 0].item() == pytest.approx(0.36)
    assert pooled[0, 13].item() == pytest.approx(1.0)


@pytest.mark.parametrize("size", [12, 6, 4, 3, 2])
@pytest.mark.parametrize("edge", [5, 14, 31])
def test_adaptive_sizes_are_those_of_torch(size: int, edge: int) -> None:
    torch.manual_seed(0)
    maps = torch.rand(2, 3, edge, edge + 2)
    expected = torch.nn.AdaptiveAvgPool2d(size)(maps)
    pooled = pooling.pool(maps, f"adaptive_{size}", Tokens())
    assert torch.equal(pooled, expected.reshape(2, 3 * size * size))


@pytest.mark.parametrize("kind", ["average_6_1_0", "adaptive_2"])
def test_places_are_summed_in_float32(kind: str) -> None:
    """In bf16 the sum would stand still at 256."""
    maps = torch.ones(1, 1, 38, 38, dtype=torch.bfloat16)
    maps[..., 0, 0] = 256
    pooled = pooling.pool(maps, kind, Tokens())
    pixels = 36 if kind == "average_6_1_0" else 19 * 19
    assert pooled.dtype == torch.float32
    assert pooled[0, 0].item() == pytest.approx((256 + pixels - 1) / pixels, rel=1e-6)


def test_a_resnet50_gives_the_published_dimensions() -> None:
    backbone = build("resnet50", 0)
    sites = pooling.voc07_sites(backbone, (224, 224), FEATURES)
    assert sites == [
        pooling.Site(feature, tap, kind)
        for (feature, tap, *_), kind in zip(TABLE, EXACT, strict=True)
    ]
    with torch.no_grad():
        taps = backbone.forward_taps(
            torch.rand(1, 3, 224, 224), [site.tap for site in sites]
        )
    for _, tap, channels, edge, _, _ in TABLE:
        assert taps[tap].shape == (1, channels, edge, edge)
    widths = [
        pooling.pool(taps[site.tap], site.pooling, backbone).shape[1] for site in sites
    ]
    assert widths == [9216, 9216, 8192, 9216, 8192]
    adaptive = pooling.voc07_sites(backbone, None, FEATURES)
    assert [
        pooling.pool(taps[site.tap], site.pooling, backbone).shape[1]
        for site in adaptive
    ] == [9216, 9216, 8192, 9216, 8192]


class Maps:
    """Taps and widths of a network of maps, without the network."""

    arch = "maps"
    tap_pooling = "average"
    num_prefix_tokens = 0

    def __init__(self, *widths: int, arch: str = "maps") -> None:
        taps = ["stem", "layer1", "layer2", "layer3", "layer4", "final"]
        self.dims = dict(zip(taps, widths, strict=False))
        self.arch = arch


RESNET50 = (64, 256, 512, 1024, 2048, 2048)


@pytest.mark.parametrize(
    ("backbone", "image_size", "exact"),
    [
        (Maps(*RESNET50), (224, 224), True),
        (Maps(*RESNET50[:5], 1024), (224, 224), True),  # CLIP's final tap is its own
        (Maps(*RESNET50), (224, 225), False),
        (Maps(*RESNET50), (160, 160), False),
        (Maps(*RESNET50), None, False),
        (Maps(64, 64, 128, 256, 512, 512), (224, 224), False),
        (Maps(*RESNET50, arch="resnet50-cifar"), (224, 224), False),
    ],
)
def test_windows_are_for_the_maps_that_they_were_made_for(
    backbone: Maps, image_size: tuple[int, int] | None, exact: bool
) -> None:
    sites = pooling.voc07_sites(backbone, image_size, FEATURES)
    assert [site.tap for site in sites] == [row[1] for row in TABLE]
    adaptive = [f"adaptive_{size}" for size in (12, 6, 4, 3, 2)]
    assert [site.pooling for site in sites] == (EXACT if exact else adaptive)


def test_a_taps_own_name_stands_for_it() -> None:
    maps = Maps(*RESNET50)
    names = ["layer4", "stem", "final"]
    assert pooling.voc07_sites(maps, (224, 224), names) == [
        pooling.Site("layer4", "layer4", "adaptive_2"),
        pooling.Site("stem", "stem", "adaptive_12"),
        pooling.Site("final", "final", "average"),
    ]
    vit = build("vit_tiny_patch16_32", 0)
    assert pooling.voc07_sites(vit, None, ["block7", "final"]) == [
        pooling.Site("block7", "block7", "class_token"),
        pooling.Site("final", "final", "class_token"),
    ]


def tokens_of(depth: int, kind: str = "patch_mean") -> Maps:
    found = Maps()
    found.dims = {**{f"block{i}": 8 for i in range(1, depth + 1)}, "final": 8}
    found.tap_pooling = kind
    return found


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [
        (12, (3, 5, 8, 10)),  # 2.4, 4.8, 7.2, 9.6
        (24, (5, 10, 15, 20)),  # 4.8, 9.6, 14.4, 19.2
        (5, (1, 2, 3, 4)),
        (1, (1, 1, 1, 1)),
    ],
)
def test_tokens_are_taken_by_fifths_of_the_depth(
    depth: int, blocks: tuple[int, ...]
) -> None:
    sites = pooling.voc07_sites(tokens_of(depth), (224, 224), FEATURES)
    assert [site.feature for site in sites] == FEATURES
    assert [site.tap for site in sites] == [*(f"block{b}" for b in blocks), "final"]
    assert {site.pooling for site in sites} == {"patch_mean"}


def test_the_gap_is_the_final_tap_by_the_backbones_rule() -> None:
    assert pooling.gap_site(Maps(*RESNET50)) == pooling.Site("gap", "final", "average")
    assert pooling.gap_site(tokens_of(2, "class_token")) == pooling.Site(
        "gap", "final", "class_token"
    )


@pytest.mark.parametrize(
    ("backbone", "names", "said"),
    [
        (Maps(*RESNET50), ["feat6"], "feature of maps 'feat6'. Did you mean 'feat5'"),
        (Maps(*RESNET50), ["layer5"], "Did you mean 'layer4'"),
        (Maps(*RESNET50), ["block1"], "unknown feature of maps 'block1'"),
        (tokens_of(3), ["block4"], "Did you mean 'block3'"),
        (Maps(8, 16), ["feat1", "feat5"], "maps has no tap layer4, .*: stem, layer1$"),
        (Maps(8, 16), ["layer4"], "unknown feature of maps 'layer4'"),
        (tokens_of(0), ["feat5", "feat2"], "no tap block1, which feat2 .*: final$"),
        (
            Maps(*RESNET50),
            ["feat4", "layer3"],
            "feat4 and layer3 both take the tap layer3, .*average_8_3_0.*adaptive_3",
        ),
    ],
)
def test_sites_that_a_network_does_not_have(
    backbone: Maps, names: list[str], said: str
) -> None:
    with pytest.raises(BenchError, match=said):
        pooling.voc07_sites(backbone, (224, 224), names)


def test_the_names_are_those_that_backbones_say() -> None:
    assert pooling.KINDS == (AVERAGE, CLASS_TOKEN, PATCH_MEAN)
