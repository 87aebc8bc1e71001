#!/usr/bin/env bash
# Fits the rule as `small` was, on the mixtures of its experiment that hold no row of one source:
# what selects from that source then has not seen it. Usage: without.sh SOURCE RULE.json [OPTION ...]
set -eu
source=${1:?usage: without.sh SOURCE RULE.json [OPTION ...]}
rule=${2:?usage: without.sh SOURCE RULE.json [OPTION ...]}
shift 2
here=$(cd "$(dirname "$0")" && pwd)
instructmining fit "$here/runs.jsonl" --without-source "$source" -o "$rule" --choose aicc \
  --evaluation human-fit --evaluation lima-fit \
  --column len_in=clip+log1p --column len_out=clip+log1p --column nll=clip \
  --column mtld=clip+log1p --column knn_6=clip --column nat=clip "$@"
