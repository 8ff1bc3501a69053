#!/usr/bin/env bash
# Detection on Slurm, trained and tested: PARTITION CONFIG PRETRAIN [further arguments of ssl-bench detect].
# Environment: GPUS (8), GPUS_PER_NODE (up to 8), CPUS_PER_TASK (5), SRUN_ARGS, GRES (gpu:N, or none), PORT, JOB_NAME.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 PARTITION CONFIG PRETRAIN [ARGUMENT ...]" >&2
  exit 2
fi
partition=$1 job=${JOB_NAME:-detect} config=$2 pretrain=$3
shift 3
gpus=${GPUS:-8} node=${GPUS_PER_NODE:-$((${GPUS:-8} < 8 ? ${GPUS:-8} : 8))}
export MASTER_PORT="${PORT:-${MASTER_PORT:-}}" GRES="${GRES:-gpu:$node}"
exec srun -p "$partition" --job-name="$job" $([ "$GRES" = none ] || echo "--gres=$GRES") \
  --ntasks="$gpus" --ntasks-per-node="$node" --cpus-per-task="${CPUS_PER_TASK:-5}" \
  --kill-on-bad-exit=1 ${SRUN_ARGS:-} python -u -m \
  ssl_bench detect "$config" --pretrain "$pretrain" --launcher slurm "$@"
