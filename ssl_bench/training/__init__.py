"""Training protocols on mmengine's Runner: linear, semi-supervised, fine-tuning."""
