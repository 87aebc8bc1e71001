#!/usr/bin/env bash
# Has the answers of the models of pool alpaca judged, by the reward head that comes with the package
# or, with OPTIONs of `instructmining judge`, by another. Usage: judge.sh DATA OUT [OPTION ...]
#
#   bash experiments/proof/run.sh DATA alpaca RULE.json OUT/alpaca
#   bash experiments/proof/judge.sh DATA OUT/alpaca
set -eu
data=${1:?usage: judge.sh DATA OUT [OPTION ...]}
out=${2:?usage: judge.sh DATA OUT [OPTION ...]}
shift 2
[ $# -gt 0 ] || set -- --judge-reward small
instructmining judge "$out" --human-pairs "$data/preferences/harmless-base_test.jsonl.gz" \
  --n-people 500 "$@"
