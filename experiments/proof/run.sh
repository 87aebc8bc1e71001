#!/usr/bin/env bash
# Compares what the rule selects with everything else, on one of the two pools, in the training
# setting the rule was fitted in. Usage: run.sh DATA POOL RULE OUT [OPTION ...]
#
#   python experiments/proof/pools.py DATA experiments/proof/work
#   bash experiments/proof/run.sh DATA mixed small OUT/mixed
#   bash experiments/proof/run.sh DATA alpaca RULE.json OUT/alpaca
#
# RULE for the pool alpaca is one fitted on the mixtures without that source:
# `bash experiments/rule/without.sh alpaca RULE.json`. The pools' scores lie beside this file.
# BUDGET=rows compares at as many rows, not response tokens. METHODS=rule,random,… compares these only,
# with the runs of a folder of all methods where `--adopt` names one. OPTIONs go to `instructmining compare`,
# which goes on where it was stopped; runs that were made already lie beside this file too.
set -eu
data=${1:?usage: run.sh DATA POOL RULE OUT [OPTION ...]}
pool=${2:?usage: run.sh DATA POOL RULE OUT [OPTION ...]}
rule=${3:?usage: run.sh DATA POOL RULE OUT [OPTION ...]}
out=${4:?usage: run.sh DATA POOL RULE OUT [OPTION ...]}
shift 4
. "$(dirname "$0")/common.sh"
budget=${BUDGET:-tokens}
find_evaluations "$data"
methods=${METHODS:-rule,random,longest,shortest,ifd,ppl,all}
[ -n "${METHODS:-}" ] || take_runs "$proof/$pool.$budget" "$out"
# What the models of one pool write is judged (judge.sh); rows like these questions are left out.
answer=()
[ "$pool" != alpaca ] || answer=(--answer "$data/eval/vicuna_bench/question.jsonl")
instructmining compare "$work/$pool.jsonl" --scores "$proof/$pool.scores.parquet" \
  --eval human-report="$human#report" --eval davinci-report="$davinci#report" \
  --eval lima-report="$lima" \
  --methods "$methods" --rule "$rule" \
  --keep 250 --budget "$budget" --seeds 5 --all-seeds 2 "${training[@]}" "${answer[@]}" -o "$out" "$@"
