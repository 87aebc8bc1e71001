#!/usr/bin/env bash
# Draws the rule's experiment: designed mixtures of eight sources, a subset of them with more
# seeds, measured on three evaluation sets. DATA is the folder of real data (docs/results.md);
# WORK is where LIMA's two halves go, which may not be committed. What follows goes to
# `instructmining experiment plan`. Scoring 600 rows of each source takes an hour of one core.
set -eu
data=${1:?usage: plan.sh DATA WORK [OPTION ...]}
work=${2:?usage: plan.sh DATA WORK [OPTION ...]}
shift 2
here=$(cd "$(dirname "$0")" && pwd)
python "$here/lima.py" "$data/instructions/lima_1029_with_source.jsonl" "$work"
human=$data/eval/self_instruct_human_eval/user_oriented_instructions.jsonl
davinci=$data/eval/self_instruct_human_eval/predictions/text-davinci-003_predictions.jsonl
instructmining experiment plan \
  --source alpaca="$data/instructions/alpaca_data.json" \
  --source code_alpaca="$data/instructions/code_alpaca_2k.json" \
  --source codegen="$data/instructions/gpteacher_codegen.json" \
  --source dolly="$data/instructions/dolly_3k.json" \
  --source gsm8k="$data/instructions/gsm_8k_train.json" \
  --source guanaco="$data/instructions/guanaco_1k_first_turn.jsonl" \
  --source lima="$data/instructions/lima_1029_with_source.jsonl" \
  --source roleplay="$data/instructions/gpteacher_roleplay.json" \
  --evaluation human-fit="$human#fit" --evaluation human-report="$human#report" \
  --evaluation davinci-report="$davinci#report" \
  --evaluation lima-fit="$work/lima-fit.jsonl" \
  --evaluation lima-report="$work/lima-report.jsonl" \
  --design 129 --replicate 15 --seeds 3 --per-source 600 --size 128 --max-tokens 256 \
  -o "$here/plan.json" "$@"
