#!/usr/bin/env bash
# k-NN on ImageNet, an epoch of a training run. SELFSUP_CONFIG is not read: its path names the work dir.
# Environment: GPUS (8), NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500).
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 SELFSUP_CONFIG EPOCH [ARGUMENT ...]" >&2
  exit 2
fi
work=$(sed -E 's#(^|/)configs/#\1work_dirs/#' <<<"${1%.py}")
pretrain=$work/epoch_$2.pth
shift 2
if [ ! -f "$pretrain" ]; then
  there=$(find "$work" -maxdepth 1 -name 'epoch_*.pth' 2>&- | sed 's/.*epoch_//; s/.pth$//' | sort -n) || :
  echo "$0: error: there is no $pretrain; epochs in $work: $(xargs <<<"${there:-none}")" >&2
  exit 1
fi

exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="${GPUS:-8}" -m \
  ssl_bench knn --pretrain "$pretrain" \
  --work-dir "$work/knn_imagenet/$(basename "$pretrain" .pth)" --launcher pytorch "$@"
