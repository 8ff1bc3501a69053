"""Linear evaluation of VISSL on Places205: seven heads on a ResNet-50.

    ssl-bench linear resnet50_vissl-linear-8xb32-steplr-14e_places205 --pretrain CKPT

Cost: 14 forward passes over 2.45 M images.
Expected: no published figure in the tables of this project.
Source: facebookresearch/vissl, configs/config/benchmark/linear_image_classification/
    places205/eval_resnet_8gpu_transfer_places205_linear.yaml.
"""

_base_ = "resnet50_vissl-linear-8xb32-steplr-28e_in1k.py"

dataset = "places205"
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[4, 8, 12], gamma=0.1)
]
train_cfg = dict(max_epochs=14)
