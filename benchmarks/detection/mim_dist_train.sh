#!/usr/bin/env bash
# Detection, trained and tested: CONFIG PRETRAIN GPUS [further arguments of ssl-bench detect].
# Environment: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500).
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 CONFIG PRETRAIN GPUS [ARGUMENT ...]" >&2
  exit 2
fi
config=$1
pretrain=$2
gpus=$3
shift 3

exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$gpus" -m \
  ssl_bench detect "$config" --pretrain "$pretrain" --launcher pytorch "$@"
