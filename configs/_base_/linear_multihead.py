"""Linear evaluation of five taps of a ResNet-50 at once.

Every tap is averaged over the windows of the VOC07 table, passes a batch norm without
scale and shift (channel by channel, before the map is flattened) and is classified.

Source: MMSelfSup 0.x, configs/benchmarks/classification/_base_/models/
    resnet50_multihead.py. 1.x lists the stages 0 to 4 where its backbone has 0 to 3,
    and trains four heads; here there are five, as in 0.x and in the published tables.
"""

_base_ = "linear.py"

model = dict(
    heads=dict(
        _delete_=True,
        **{
            f"feature{number}": dict(
                taps=[tap],
                pooling="voc07",
                norm=dict(type="batch", momentum=0.1, eps=1e-5),
                init="normal",
                init_std=0.01,
            )
            for number, tap in enumerate(
                ("stem", "layer1", "layer2", "layer3", "layer4"), start=1
            )
        },
    )
)
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=256)
# Published with norm_decay_mult=0, which does nothing: these norms have no parameters.
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=1e-4, nesterov=True))
