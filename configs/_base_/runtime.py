"""What every training protocol shares: checkpoints, logs, environment."""

default_scope = "ssl_bench"
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
    logger=dict(type="LoggerHook", interval=50),
)
env_cfg = dict(cudnn_benchmark=True)
log_processor = dict(type="LogProcessor", window_size=50, by_epoch=True)
# TensorBoard, where it is wanted: a config of one's own with
# visualizer = dict(vis_backends=[dict(type="LocalVisBackend"),
#                                 dict(type="TensorboardVisBackend")]).
visualizer = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])
