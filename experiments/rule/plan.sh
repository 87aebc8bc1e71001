#!/usr/bin/env bash
# Draws the rule's experiment: designed mixtures of eight sources (sources.txt), some with more
# seeds, measured on three evaluation sets. DATA is the folder of real data (docs/results.md);
# WORK is where LIMA's two halves go, which may not be committed. What follows goes to
# `instructmining experiment plan`. Scoring 2,000 rows of each source takes 35 minutes of two cores
# with bfloat16.
set -eu
data=${1:?usage: plan.sh DATA WORK [OPTION ...]}
work=${2:?usage: plan.sh DATA WORK [OPTION ...]}
shift 2
here=$(cd "$(dirname "$0")" && pwd)
python "$here/lima.py" "$data/instructions/lima_1029_with_source.jsonl" "$work"
human=$data/eval/self_instruct_human_eval/user_oriented_instructions.jsonl
davinci=$data/eval/self_instruct_human_eval/predictions/text-davinci-003_predictions.jsonl
sources=()
while IFS== read -r name file; do
  sources+=(--source "$name=$data/instructions/$file")
done < "$here/../sources.txt"
instructmining experiment plan "${sources[@]}" \
  --evaluation human-fit="$human#fit" --evaluation human-report="$human#report" \
  --evaluation davinci-report="$davinci#report" \
  --evaluation lima-fit="$work/lima-fit.jsonl" \
  --evaluation lima-report="$work/lima-report.jsonl" \
  --design 129 --replicate 15 --seeds 3 --per-source 2000 --size 500 --epochs 3 --batch-size 16 \
  --max-tokens 256 \
  -o "$here/plan.json" "$@"
