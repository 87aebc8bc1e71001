#!/usr/bin/env bash
# Runs the pilot's six mixtures under other training settings, two seeds each, on the pilot
# part of the evaluation prompts. Usage: settings.sh DATA [SETTING...], where a setting is
# METHOD-RATE-SIZE, the method perhaps with a number of last layers, as in lora8-1e-3-128, the
# size perhaps with epochs and a batch size, as in lora-1e-3-500x3b16; by default those of one
# epoch in batches of 8. Goes on where it was stopped.
# `python -m experiments.pilot RUNS.jsonl...` compares the logs.
set -eu
data=${1:?usage: settings.sh DATA [METHOD-RATE-SIZE ...]}
shift
[ $# -gt 0 ] || set -- top-3e-4-128 top-1e-4-128 lora-3e-3-128 full-1e-4-128 lora-1e-3-256
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$here/settings"
for setting; do
  if ! [[ $setting =~ ^(lora|top|full)([0-9]*)-(.+)-([0-9]+)(x([0-9]+)b([0-9]+))?$ ]]; then
    echo "settings.sh: setting $setting; wanted METHOD-RATE-SIZE, as top-3e-4-128" >&2
    exit 2
  fi
  plan=$here/settings/$setting.plan.json
  layers=${BASH_REMATCH[2]:+--top-layers ${BASH_REMATCH[2]}}
  # shellcheck disable=SC2086  # an option and its value, or nothing
  [ -e "$plan" ] || bash "$here/plan.sh" "$data" --seeds 2 -o "$plan" $layers \
    --method "${BASH_REMATCH[1]}" --learning-rate "${BASH_REMATCH[3]}" --size "${BASH_REMATCH[4]}" \
    --epochs "${BASH_REMATCH[6]:-1}" --batch-size "${BASH_REMATCH[7]:-8}"
  # What is compared is losses; columns that need a model would only cost time.
  instructmining experiment run "$plan" -o "$here/settings/$setting.jsonl" \
    --indicators len_out,mtld
done
