#!/usr/bin/env bash
# bash dist_train.sh CONFIG BACKBONE.pkl OUTPUT [KEY VALUE ...]
# CONFIG: one of the recipes here, by name or path. GPUS=8 and PYTHON=python.
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,3s/^# //p' "$0" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
config=$1 weights=$2 output=$3
shift 3
[ -f "$config" ] || config=$here/${config%.yaml}.yaml
exec "${PYTHON:-python}" "$here/train_net.py" \
  --config-file "$config" --num-gpus "${GPUS:-8}" \
  MODEL.WEIGHTS "$weights" OUTPUT_DIR "$output" "$@"
