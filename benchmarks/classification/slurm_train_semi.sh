#!/usr/bin/env bash
# Semi-supervised evaluation on Slurm: PARTITION JOB_NAME CONFIG PRETRAIN [further arguments of ssl-bench semi].
# Environment: GPUS (8), GPUS_PER_NODE (up to 8), CPUS_PER_TASK (5), SRUN_ARGS, GRES (gpu:N, or none), PORT.
set -euo pipefail
if [ $# -lt 4 ]; then
  echo "usage: $0 PARTITION JOB_NAME CONFIG PRETRAIN [ARGUMENT ...]" >&2
  exit 2
fi
partition=$1 job=$2 config=$3 pretrain=$4
shift 4
gpus=${GPUS:-8} node=${GPUS_PER_NODE:-$((${GPUS:-8} < 8 ? ${GPUS:-8} : 8))}
export MASTER_PORT="${PORT:-${MASTER_PORT:-}}" GRES="${GRES:-gpu:$node}"
exec srun -p "$partition" --job-name="$job" $([ "$GRES" = none ] || echo "--gres=$GRES") \
  --ntasks="$gpus" --ntasks-per-node="$node" --cpus-per-task="${CPUS_PER_TASK:-5}" \
  --kill-on-bad-exit=1 ${SRUN_ARGS:-} python -u -m \
  ssl_bench semi "$config" --pretrain "$pretrain" --launcher slurm "$@"
