#!/usr/bin/env bash
# VOC07 SVM, a checkpoint. SELFSUP_CONFIG is not read: its path names the work dir.
# Environment: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500), PROTOCOL (svm).
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 SELFSUP_CONFIG GPUS PRETRAIN [FEATURE_LIST] [ARGUMENT ...] (low-shot SVM: PROTOCOL=lowshot)" >&2
  exit 2
fi
gpus=$2 pretrain=$3 work=$(sed -E 's#(^|/)configs/#\1work_dirs/#' <<<"${1%.py}")
shift 3
features=feat5
if [[ ${1:--} != -* ]]; then features=$1 && shift; fi

exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$gpus" -m \
  ssl_bench "${PROTOCOL:-svm}" --pretrain "$pretrain" --feature-list "$features" \
  --work-dir "$work/svm_voc07/$(basename "$pretrain" .pth)" --launcher pytorch "$@"
