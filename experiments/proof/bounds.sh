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
. "$(dirname "$0")/common.sh"
find_evaluations "$data"
python "$proof/ceiling.py" "$data" "$work"
case $which in
  ceiling) best=own keep=220 seeds=3 ;;
  spoilt) best=clean keep=250 seeds=2; python "$proof/spoilt.py" "$work" ;;
  *) echo "$which came; choose ceiling or spoilt" >&2; exit 2 ;;
esac
take_runs "$proof/$which" "$out"
instructmining compare "$work/$which.jsonl" \
  --eval human-report="$work/human-report.jsonl" \
  --eval davinci-report="$work/davinci-report.jsonl" --eval lima-report="$lima" \
  --methods "$best=$work/$which.$best.parquet,random" --reference "$best" \
  --keep "$keep" --seeds "$seeds" "${training[@]}" -o "$out" "$@"
