#!/usr/bin/env bash
# Has the answers of the models of pool alpaca judged, by the reward head that comes with the package
# or, with OPTIONs of `instructmining judge`, by another. Usage: judge.sh DATA OUT [OPTION ...]
#
#   METHODS=rule,random,longest,shortest,ifd,ppl bash experiments/proof/run.sh DATA alpaca RULE.json OUT/six
#   bash experiments/proof/judge.sh DATA OUT/six
#
# What was judged already lies beside this file; a question is known by its judge and both answers.
set -eu
data=${1:?usage: judge.sh DATA OUT [OPTION ...]}
out=${2:?usage: judge.sh DATA OUT [OPTION ...]}
shift 2
. "$(dirname "$0")/common.sh"
take_judgements "$proof/alpaca" "$out"
[ $# -gt 0 ] || set -- --judge-reward small
instructmining judge "$out" --human-pairs "$data/preferences/harmless-base_test.jsonl.gz" \
  --n-people 500 "$@"
