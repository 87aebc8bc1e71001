#!/usr/bin/env bash
# How many rows of the mixed pool, ranked by the rule `small`, are best: the curve of loss against
# size, by a sweep and by BlendSearch. Usage: size.sh DATA OUT [OPTION ...]
#
#   python experiments/proof/pools.py DATA experiments/proof/work
#   bash experiments/proof/size.sh DATA OUT/size
#
# LIMA's rows are no evaluation set here: the rule was fitted on half of them, and a search splits a
# file anew. OPTIONs go to `instructmining search`, which goes on where it was stopped; runs that
# were made already lie beside this file.
set -eu
data=${1:?usage: size.sh DATA OUT [OPTION ...]}
out=${2:?usage: size.sh DATA OUT [OPTION ...]}
shift 2
. "$(dirname "$0")/common.sh"
find_evaluations "$data"
take_runs "$proof/size" "$out"
instructmining search "$work/mixed.jsonl" --scores "$proof/mixed.scores.parquet" --rule small \
  --eval human="$human" --eval davinci="$davinci" --smallest 32 --largest 500 --sizes 4 \
  --trials 4 --seeds 2 "${training[@]}" -o "$out" "$@"
