#!/usr/bin/env bash
# Draws the pilot: six very different mixtures, three seeds each. DATA is the folder of
# real data (see docs/results.md for the files and their licences). What follows it goes to
# `instructmining experiment plan` and overrides what stands here.
set -eu
data=${1:?usage: plan.sh DATA [OPTION ...]}
shift
here=$(cd "$(dirname "$0")" && pwd)
human=$data/eval/self_instruct_human_eval/user_oriented_instructions.jsonl
davinci=$data/eval/self_instruct_human_eval/predictions/text-davinci-003_predictions.jsonl
instructmining experiment plan \
  --source alpaca="$data/instructions/alpaca_data.json" \
  --source lima="$data/instructions/lima_1029_with_source.jsonl" \
  --source guanaco="$data/instructions/guanaco_1k_first_turn.jsonl" \
  --source gsm8k="$data/instructions/gsm_8k_train.json" \
  --source roleplay="$data/instructions/gpteacher_roleplay.json" \
  --source dolly="$data/instructions/dolly_3k.json" \
  --mixture alpaca=alpaca --mixture lima=lima --mixture guanaco=guanaco \
  --mixture gsm8k=gsm8k --mixture roleplay=roleplay --mixture 'shortest=shortest@*' \
  --evaluation human-pilot="$human#pilot" --evaluation davinci-pilot="$davinci#pilot" \
  --size 128 --seeds 3 --max-tokens 256 -o "$here/plan.json" "$@"
