"""Linear evaluation of DINO's ViT-S/16: class tokens of the last four blocks.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

Cost: 100 forward passes over 1.28 M images, and 100 over 50,000.
Expected: DINO's own ViT-S/16 77.0 top-1.
Source: facebookresearch/dino, eval_linear.py (0.001 for every 256 images; every block
    passes the final norm; images are resampled bicubically at test only).
"""

_base_ = "../_base_/linear.py"

dataset = "imagenet"
arch = "vit_small_patch16_[0-9]*"
default = True
model = dict(heads=dict(head=dict(taps=["last4"], pooling="class_token", normed=True)))
train_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=1024)
optim_wrapper = dict(optimizer=dict(lr=0.004))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, eta_min=0.0)]
train_cfg = dict(max_epochs=100)
transform = [
    dict(type="Resize", size=256, interpolation="bicubic"),
    dict(type="CenterCrop", size=224),
]
