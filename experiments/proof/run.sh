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
# BUDGET=rows compares at as many rows, not response tokens. OPTIONs go to `instructmining compare`,
# which goes on where it was stopped; runs that were made already lie beside this file too.
set -eu
data=${1:?usage: run.sh DATA POOL RULE OUT [OPTION ...]}
pool=${2:?usage: run.sh DATA POOL RULE OUT [OPTION ...]}
rule=${3:?usage: run.sh DATA POOL RULE OUT [OPTION ...]}
out=${4:?usage: run.sh DATA POOL RULE OUT [OPTION ...]}
shift 4
budget=${BUDGET:-tokens}
here=$(cd "$(dirname "$0")" && pwd)
made=$here/$pool.$budget.runs.jsonl
python "$here/../rule/lima.py" "$data/instructions/lima_1029_with_source.jsonl" "$here/work"
human=$data/eval/self_instruct_human_eval/user_oriented_instructions.jsonl
davinci=$data/eval/self_instruct_human_eval/predictions/text-davinci-003_predictions.jsonl
if [ ! -e "$out/runs.jsonl" ] && [ -e "$made" ]; then
  mkdir -p "$out"
  cp "$made" "$out/runs.jsonl"
fi
instructmining compare "$here/work/$pool.jsonl" --scores "$here/$pool.scores.parquet" \
  --eval human-report="$human#report" --eval davinci-report="$davinci#report" \
  --eval lima-report="$here/work/lima-report.jsonl" \
  --methods rule,random,longest,shortest,ifd,ppl,all --rule "$rule" \
  --keep 250 --budget "$budget" --seeds 5 --all-seeds 3 --method lora --learning-rate 3e-4 --epochs 3 \
  --batch-size 16 --max-tokens 256 -o "$out" "$@"
