#!/usr/bin/env bash
# VOC07 SVM, a checkpoint, on Slurm. SELFSUP_CONFIG is not read: its path names the work dir.
# Environment: GPUS (8), GPUS_PER_NODE (up to 8), CPUS_PER_TASK (5), SRUN_ARGS, GRES (gpu:N, or none), PORT, PROTOCOL (svm).
set -euo pipefail
if [ $# -lt 4 ]; then
  echo "usage: $0 PARTITION JOB_NAME SELFSUP_CONFIG PRETRAIN [FEATURE_LIST] [ARGUMENT ...] (low-shot SVM: PROTOCOL=lowshot)" >&2
  exit 2
fi
partition=$1 job=$2 pretrain=$4 work=$(sed -E 's#(^|/)configs/#\1work_dirs/#' <<<"${3%.py}")
shift 4
features=feat5
if [[ ${1:--} != -* ]]; then features=$1 && shift; fi
gpus=${GPUS:-8} node=${GPUS_PER_NODE:-$((${GPUS:-8} < 8 ? ${GPUS:-8} : 8))}
export MASTER_PORT="${PORT:-${MASTER_PORT:-}}" GRES="${GRES:-gpu:$node}"
exec srun -p "$partition" --job-name="$job" $([ "$GRES" = none ] || echo "--gres=$GRES") \
  --ntasks="$gpus" --ntasks-per-node="$node" --cpus-per-task="${CPUS_PER_TASK:-5}" \
  --kill-on-bad-exit=1 ${SRUN_ARGS:-} python -u -m \
  ssl_bench "${PROTOCOL:-svm}" --pretrain "$pretrain" --feature-list "$features" \
  --work-dir "$work/svm_voc07/$(basename "$pretrain" .pth)" --launcher slurm "$@"
