#!/usr/bin/env bash
# Semi-supervised evaluation: CONFIG PRETRAIN [further arguments of ssl-bench semi].
# Environment: GPUS (8), NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500).
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 CONFIG PRETRAIN [ARGUMENT ...]" >&2
  exit 2
fi
config=$1
pretrain=$2
shift 2

exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="${GPUS:-8}" -m \
  ssl_bench semi "$config" --pretrain "$pretrain" --launcher pytorch "$@"
