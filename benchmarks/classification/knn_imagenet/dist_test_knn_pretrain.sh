#!/usr/bin/env bash
# k-NN on ImageNet, a checkpoint. SELFSUP_CONFIG is not read: its path names the work dir.
# Environment: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500).
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 SELFSUP_CONFIG GPUS PRETRAIN [ARGUMENT ...]" >&2
  exit 2
fi
gpus=$2 pretrain=$3 work=$(sed -E 's#(^|/)configs/#\1work_dirs/#' <<<"${1%.py}")
shift 3

exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$gpus" -m \
  ssl_bench knn --pretrain "$pretrain" \
  --work-dir "$work/knn_imagenet/$(basename "$pretrain" .pth)" --launcher pytorch "$@"
