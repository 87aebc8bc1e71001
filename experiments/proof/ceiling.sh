#!/usr/bin/env bash
# Compares rows of the evaluation sets themselves (their fit parts; the report parts are measured)
# with a random draw of the mixed pool, at as many response tokens and steps: no choice from the
# pool has more to win. Usage: ceiling.sh DATA OUT [OPTION ...]
#
#   python experiments/proof/pools.py DATA experiments/proof/work
#   bash experiments/proof/ceiling.sh DATA OUT
#
# OPTIONs go to `instructmining compare`; runs that were made already lie beside this file.
set -eu
data=${1:?usage: ceiling.sh DATA OUT [OPTION ...]}
out=${2:?usage: ceiling.sh DATA OUT [OPTION ...]}
shift 2
here=$(cd "$(dirname "$0")" && pwd)
made=$here/ceiling.runs.jsonl
python "$here/../rule/lima.py" "$data/instructions/lima_1029_with_source.jsonl" "$here/work"
python "$here/ceiling.py" "$data" "$here/work"
if [ ! -e "$out/runs.jsonl" ] && [ -e "$made" ]; then
  mkdir -p "$out"
  cp "$made" "$out/runs.jsonl"
fi
instructmining compare "$here/work/ceiling.jsonl" \
  --eval human-report="$here/work/human-report.jsonl" \
  --eval davinci-report="$here/work/davinci-report.jsonl" \
  --eval lima-report="$here/work/lima-report.jsonl" \
  --methods target="$here/work/ceiling.target.parquet",random --reference target \
  --keep 220 --seeds 5 --method lora --learning-rate 3e-4 --epochs 3 \
  --batch-size 16 --max-tokens 256 -o "$out" "$@"
