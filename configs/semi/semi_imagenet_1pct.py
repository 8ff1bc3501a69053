"""Semi-supervised ImageNet: 1 % of the labels, on any backbone but a ResNet-50.

    ssl-bench semi semi_imagenet_1pct --pretrain CKPT --data-root data/imagenet

No published recipe: the schedule is MMSelfSup's for a ResNet-50, and the rate of the
head is ten times that of the network. Gradients are clipped at a norm of 1, as
Dosovitskiy et al. 2021, appendix B.1, fine-tune transformers by SGD.

Cost: 20 passes over 12,811 images, forward and backward; nine times with --grid.
Expected: no published figure.
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/imagenet_1percent/.
"""

_base_ = "resnet50_4xb64-steplr-20e_in1k-1pct.py"

arch = "*"
optim_wrapper = dict(paramwise_cfg=dict(head_lr_mult=10), clip_grad=dict(max_norm=1.0))
model = dict(heads=dict(head=dict(pooling="backbone")))
