#!/usr/bin/env bash
# The demonstration: keep the best half of a pool of deliberately mixed quality, then say
# which kinds of defect the rule dropped, beside what keeping the longest would have.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pool=$here/demo_pool.jsonl
out=${1:-$here/../demo-output}
mkdir -p "$out"
out=$(cd "$out" && pwd)
keep=240

instructmining select "$pool" --keep $keep -o "$out/selected.jsonl" | tee "$out/summary.txt"
# Of a mixed pool of eight sources 98 % of the rows lie within (docs/results.md).
instructmining select "$pool" --keep $keep --within nat=-3: -o "$out/within.jsonl" > /dev/null
instructmining select "$pool" --keep $keep --rule longest -o "$out/longest.jsonl" > /dev/null
decisions=()
for name in selected within longest; do
  decisions+=("$out/$name.jsonl.decisions.parquet")
done
python "$here/drop_rates.py" "$pool" "${decisions[@]}" | tee -a "$out/summary.txt"
echo
echo "selected rows: $out/selected.jsonl"
echo "decisions:     $out/selected.jsonl.decisions.parquet"
echo "summary:       $out/summary.txt"
