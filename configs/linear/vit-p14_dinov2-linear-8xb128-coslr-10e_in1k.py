"""Linear evaluation of DINOv2: 52 heads on one forward pass, the best is reported.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

13 learning rates for each of: class token of the last block, or of the last four;
alone, or with the mean patch of the last block.

Cost: 10 forward passes over 1.28 M images, and 10 over 50,000.
Expected: DINOv2's own ViT-S/14 81.1, ViT-B/14 84.5, ViT-L/14 86.3, ViT-g/14 86.5 top-1.
Source: facebookresearch/dinov2, dinov2/eval/linear.py: 10 epochs of 1,250 steps, which
    are 1,252 here (all of ImageNet); rates for every 256 images 1e-5 ... 0.1, here
    for 1,024; every block passes the final norm; train images bicubic.
"""

_base_ = "../_base_/linear.py"

dataset = "imagenet"
arch = [
    "vit_small_patch14_[0-9]*",
    "vit_small_patch14_reg4_[0-9]*",
    "vit_base_patch14_[0-9]*",
    "vit_base_patch14_reg4_[0-9]*",
    "vit_large_patch14_[0-9]*",
    "vit_large_patch14_reg4_[0-9]*",
    "vit_giant1536_patch14_swiglu_[0-9]*",
    "vit_giant1536_patch14_reg4_swiglu_[0-9]*",
]
default = True
model = dict(
    heads=dict(
        _delete_=True,
        last1=dict(taps=["final"], pooling="class_token", init="normal", init_std=0.01),
        last1_patches=dict(
            taps=["final"],
            pooling=["class_token", "patch_mean"],
            init="normal",
            init_std=0.01,
        ),
        last4=dict(
            taps=["last4"],
            pooling="class_token",
            normed=True,
            init="normal",
            init_std=0.01,
        ),
        # A tap with a rule of its own: the mean patch is that of the last block alone.
        last4_patches=dict(
            taps=["last4", "final/patch_mean"],
            pooling="class_token",
            normed=True,
            init="normal",
            init_std=0.01,
        ),
    )
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=224, interpolation="bicubic"),
            dict(type="RandomHorizontalFlip"),
        ]
    ),
)
auto_scale_lr = dict(base_batch_size=1024)
sweep = dict(
    lr=[4e-5, 8e-5, 2e-4, 4e-4, 8e-4, 2e-3, 4e-3, 8e-3, 0.02, 0.04, 0.08, 0.2, 0.4]
)
# Of a run with --cfg-options sweep=None: the middle of the grid.
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        eta_min=0.0,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=10)
transform = [
    dict(type="Resize", size=256, interpolation="bicubic"),
    dict(type="CenterCrop", size=224),
]
