"""Without a config the recipe that fits protocol, data and architecture is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_bench import backbones
from ssl_bench.errors import ConfigError
from ssl_bench.training import choice
from ssl_bench.training.choice import Offer, fitting_config, offers

LINEAR, SEMI, FINETUNE = "linear", "semi", "finetune"


@pytest.mark.parametrize(
    ("protocol", "dataset", "arch", "name"),
    [
        (LINEAR, "imagenet", "resnet50", "resnet50_linear-8xb32-steplr-100e_in1k"),
        (
            LINEAR,
            "imagenet",
            "resnet50-sobel",
            "resnet50-sobel_linear-8xb32-steplr-100e_in1k",
        ),
        (LINEAR, "imagenet", "resnet50-w24", "linear_imagenet"),
        (LINEAR, "imagenet", "resnet101", "linear_imagenet"),
        (LINEAR, "imagenet", "convnext_tiny", "linear_imagenet"),
        # MoCo v3's ViT-S has 12 heads, DINO's and DeiT's has 6.
        (
            LINEAR,
            "imagenet",
            "vit_small_patch16_h12_224",
            "vit-small-p16_linear-8xb128-coslr-90e_in1k",
        ),
        (
            LINEAR,
            "imagenet",
            "vit_small_patch16_224",
            "vit-small-p16_dino-linear-8xb128-coslr-100e_in1k",
        ),
        (
            LINEAR,
            "imagenet",
            "vit_large_patch16_224",
            "vit-large-p16_linear-8xb2048-coslr-90e_in1k",
        ),
        (
            LINEAR,
            "imagenet",
            "vit_base_patch14_reg4_518",
            "vit-p14_dinov2-linear-8xb128-coslr-10e_in1k",
        ),
        # No class token: the recipes that take one do not fit.
        (LINEAR, "imagenet", "vit_base_patch16_gap_224", "linear_imagenet"),
        (LINEAR, "places205", "resnet50", "resnet50_mhead_8xb32-steplr-28e_places205"),
        (LINEAR, "places205", "vit_base_patch16_224", "linear_places205"),
        (LINEAR, "inat18", "resnet50", "resnet50_mhead_8xb32-steplr-84e_inat18"),
        (LINEAR, "cifar10", "resnet50", "linear_cifar10"),
        (LINEAR, "digit-scenes", "resnet18-w24", "linear_digit-scenes"),
        (SEMI, "imagenet", "resnet50", "resnet50_4xb64-steplr-20e_in1k-10pct"),
        (SEMI, "imagenet", "vit_base_patch16_224", "semi_imagenet_10pct"),
        (SEMI, "digit-scenes", "resnet18-w24", "semi_digit-scenes_10pct"),
        (
            FINETUNE,
            "imagenet",
            "vit_base_patch16_224",
            "vit-base-p16_ft-8xb128-coslr-100e_in1k",
        ),
        (
            FINETUNE,
            "imagenet",
            "beit_base_patch16_abs_nonerel_224",
            "vit-base-p16_ft-8xb128-coslr-100e-rpe_in1k",
        ),
        (
            FINETUNE,
            "imagenet",
            "beit_base_patch16_224",
            "vit-base-p16_beit-ft-8xb128-coslr-100e_in1k",
        ),
        (
            FINETUNE,
            "imagenet",
            "swin_base_patch4_window6_192",
            "swin-base_ft-8xb256-coslr-100e_in1k-192",
        ),
        (
            FINETUNE,
            "imagenet",
            "swin_tiny_patch4_window7_224",
            "finetune_imagenet_transformer",
        ),
        (FINETUNE, "imagenet", "convnext_tiny", "finetune_imagenet_transformer"),
        (FINETUNE, "imagenet", "resnet50", "finetune_imagenet"),
        (FINETUNE, "folder", "vit_tiny_patch16_224", "finetune_folder_transformer"),
        (FINETUNE, "folder", "resnet18", "finetune_folder"),
    ],
)
def test_the_fitting_recipe(protocol: str, dataset: str, arch: str, name: str) -> None:
    assert fitting_config(protocol, dataset, arch) == name


def test_the_fraction_chooses() -> None:
    name = fitting_config(SEMI, "imagenet", "resnet50", fraction=0.01)
    assert name == "resnet50_4xb64-steplr-20e_in1k-1pct"
    with pytest.raises(ConfigError, match=r"fraction 0\.05 of folder; it has some for"):
        fitting_config(SEMI, "folder", "resnet50", fraction=0.05)


def test_small_data_take_a_small_recipe() -> None:
    """255 images cannot fill a batch of 256, 15 not one of 16."""
    assert fitting_config(LINEAR, "folder", "resnet18", images=256) == "linear_folder"
    small = fitting_config(LINEAR, "folder", "resnet18", images=255)
    assert small == "linear_folder_small"
    assert fitting_config(LINEAR, "folder", "resnet18", images=15) == small
    vit = fitting_config(FINETUNE, "folder", "vit_tiny_patch16_224", images=63)
    assert vit == "finetune_folder_small"


def test_a_data_set_without_a_recipe_is_told_those_that_have_one() -> None:
    with pytest.raises(ConfigError) as caught:
        fitting_config(SEMI, "cifar10", "resnet50")
    text = str(caught.value)
    assert "semi has no recipe for cifar10" in text
    assert "digit-scenes, folder, imagenet" in text
    assert "--dataset cifar10" in text


def test_an_architecture_without_a_recipe_is_told_those_that_have_one() -> None:
    with pytest.raises(ConfigError) as caught:
        fitting_config(FINETUNE, "cifar10", "vit_base_patch16_224")
    text = str(caught.value)
    assert "finetune has no recipe for vit_base_patch16_224 on cifar10" in text
    assert "resnet50_8xb128-steplr-350e_cifar10" in text


def examples() -> list[str]:
    return sorted(
        arch for family in backbones.families().values() for arch in family.EXAMPLES
    )


@pytest.mark.parametrize("protocol", [LINEAR, SEMI, FINETUNE])
def test_no_two_recipes_fit_equally(protocol: str) -> None:
    """One default for each data set, fraction and architecture."""
    archs = [
        *examples(),
        "resnet50-sobel",
        "vit_small_patch16_h12_224",
        "vit_base_patch8_224",
        "vit_base_patch14_reg4_518",
        "vit_huge_patch14_224",
        "beit_base_patch16_abs_nonerel_224",
        "swin_base_patch4_window7_224",
        "swin_large_patch4_window14_224",
    ]
    for arch in archs:
        ranks: dict[tuple[str, float, int, int], str] = {}
        for offer in offers(protocol):
            rank = (offer.dataset, offer.fraction, offer.fit(arch), offer.batch)
            if offer.default and offer.fit(arch) >= 0:
                assert rank not in ranks, (arch, offer.name, ranks[rank])
                ranks[rank] = offer.name


@pytest.mark.parametrize("protocol", [LINEAR, SEMI, FINETUNE])
@pytest.mark.parametrize("dataset", ["imagenet", "folder", "digit-scenes"])
def test_every_architecture_has_a_recipe(protocol: str, dataset: str) -> None:
    for arch in examples():
        assert fitting_config(protocol, dataset, arch)


def test_the_more_a_pattern_writes_out_the_better_it_fits() -> None:
    """Wildcards do not count: 'vit_b' has 5 letters, 'vit_base_' 9."""

    def fit(*patterns: str) -> int:
        return Offer("x", "folder", patterns, 1.0, 8, True).fit("vit_base_16")

    assert fit("*") == 0
    assert fit("vit_b*") == 5
    assert fit("vit_base_[0-9]*") == 9
    assert fit("*", "vit_b*") == 5
    assert fit("swin*") == -1


def test_the_nearest_pattern_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    made = (
        Offer("general", "folder", ("*",), 1.0, 64, True),
        Offer("near", "folder", ("vit_*",), 1.0, 32, True),
        Offer("nearer", "folder", ("vit_base*",), 1.0, 16, False),
    )
    monkeypatch.setattr(choice, "offers", lambda protocol: made)
    assert fitting_config("any", "folder", "vit_base_16") == "near"
    assert fitting_config("any", "folder", "resnet18") == "general"


@pytest.mark.parametrize("protocol", [LINEAR, SEMI, FINETUNE])
def test_the_table_of_recipes_is_fresh(protocol: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "protocols" / f"{protocol}.md"
    assert choice.table(protocol) in page.read_text(), "python tools/generate_docs.py"
    rows = choice.table(protocol).splitlines()[2:]
    assert len(rows) == len(offers(protocol))
