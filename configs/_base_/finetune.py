"""Fine-tuning: the whole network and a new head are trained on all labels."""

_base_ = "linear.py"

protocol = "finetune"
model = dict(frozen=False)
