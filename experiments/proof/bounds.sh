#!/usr/bin/env bash
# What there is to win and to lose by choosing: the best choice there could be against a random draw,
# at as many response tokens and steps. Usage: bounds.sh DATA WHICH OUT [OPTION ...]
#
#   python experiments/proof/pools.py DATA experiments/proof/work
#   bash experiments/proof/bounds.sh DATA ceiling OUT/ceiling
#   bash experiments/proof/bounds.sh DATA spoilt OUT/spoilt
#
# ceiling: rows of the evaluation sets themselves (their fit parts) against the mixed pool.
# spoilt: the rows that were left as they were of a pool of which half was spoilt, against all.
# OPTIONs go to `instructmining compare`; runs that were made already lie beside this file.
set -eu
data=${1:?usage: bounds.sh DATA WHICH OUT [OPTION ...]}
which=${2:?usage: bounds.sh DATA WHICH OUT [OPTION ...]}
out=${3:?usage: bounds.sh DATA WHICH OUT [OPTION ...]}
shift 3
here=$(cd "$(dirname "$0")" && pwd)
made=$here/$which.runs.jsonl
python "$here/../rule/lima.py" "$data/instructions/lima_1029_with_source.jsonl" "$here/work"
python "$here/ceiling.py" "$data" "$here/work"
case $which in
  ceiling) best=own keep=220 seeds=3 ;;
  spoilt) best=clean keep=250 seeds=2; python "$here/spoilt.py" "$here/work" ;;
  *) echo "$which came; choose ceiling or spoilt" >&2; exit 2 ;;
esac
if [ ! -e "$out/runs.jsonl" ] && [ -e "$made" ]; then
  mkdir -p "$out"
  cp "$made" "$out/runs.jsonl"
fi
instructmining compare "$here/work/$which.jsonl" \
  --eval human-report="$here/work/human-report.jsonl" \
  --eval davinci-report="$here/work/davinci-report.jsonl" \
  --eval lima-report="$here/work/lima-report.jsonl" \
  --methods "$best=$here/work/$which.$best.parquet,random" --reference "$best" \
  --keep "$keep" --seeds "$seeds" --method lora --learning-rate 3e-4 --epochs 3 \
  --batch-size 16 --max-tokens 256 -o "$out" "$@"
