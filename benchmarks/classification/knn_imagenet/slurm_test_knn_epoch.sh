#!/usr/bin/env bash
# k-NN on ImageNet, an epoch of a training run, on Slurm. SELFSUP_CONFIG is not read: its path names the work dir.
# Environment: GPUS (8), GPUS_PER_NODE (up to 8), CPUS_PER_TASK (5), SRUN_ARGS, GRES (gpu:N, or none), PORT.
set -euo pipefail
if [ $# -lt 4 ]; then
  echo "usage: $0 PARTITION JOB_NAME SELFSUP_CONFIG EPOCH [ARGUMENT ...]" >&2
  exit 2
fi
partition=$1 job=$2 work=$(sed -E 's#(^|/)configs/#\1work_dirs/#' <<<"${3%.py}")
pretrain=$work/epoch_$4.pth
shift 4
if [ ! -f "$pretrain" ]; then
  there=$(find "$work" -maxdepth 1 -name 'epoch_*.pth' 2>&- | sed 's/.*epoch_//; s/.pth$//' | sort -n) || :
  echo "$0: error: there is no $pretrain; epochs in $work: $(xargs <<<"${there:-none}")" >&2
  exit 1
fi
gpus=${GPUS:-8} node=${GPUS_PER_NODE:-$((${GPUS:-8} < 8 ? ${GPUS:-8} : 8))}
export MASTER_PORT="${PORT:-${MASTER_PORT:-}}" GRES="${GRES:-gpu:$node}"
exec srun -p "$partition" --job-name="$job" $([ "$GRES" = none ] || echo "--gres=$GRES") \
  --ntasks="$gpus" --ntasks-per-node="$node" --cpus-per-task="${CPUS_PER_TASK:-5}" \
  --kill-on-bad-exit=1 ${SRUN_ARGS:-} python -u -m \
  ssl_bench knn --pretrain "$pretrain" \
  --work-dir "$work/knn_imagenet/$(basename "$pretrain" .pth)" --launcher slurm "$@"
