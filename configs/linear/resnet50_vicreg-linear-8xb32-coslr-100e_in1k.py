"""Linear evaluation of VICReg.

    ssl-bench linear resnet50_vicreg-linear-8xb32-coslr-100e_in1k --pretrain CKPT

Cost: 100 forward passes over 1.28 M images, and 100 over 50,000.
Expected: VICReg's own ResNet-50 73.2 top-1.
Source: facebookresearch/vicreg, README.md (evaluation on ImageNet) and evaluate.py,
    whose own default is the 0.3 of Barlow Twins.
"""

_base_ = "resnet50_linear-8xb32-coslr-100e_in1k.py"

optim_wrapper = dict(optimizer=dict(lr=0.02))
