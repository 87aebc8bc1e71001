# Read by run.sh, bounds.sh, size.sh and judge.sh: where things lie, how models are tuned, what was made.

proof=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$proof/work

# The training setting of the rule, chosen in the pilot (docs/results.md).
training=(--method lora --learning-rate 3e-4 --epochs 3 --batch-size 16 --max-tokens 256)

# Sets `human`, `davinci` and LIMA's halves from the folder of real data.
find_evaluations() {
  human=$1/eval/self_instruct_human_eval/user_oriented_instructions.jsonl
  davinci=$1/eval/self_instruct_human_eval/predictions/text-davinci-003_predictions.jsonl
  python "$proof/../rule/lima.py" "$1/instructions/lima_1029_with_source.jsonl" "$work"
  lima=$work/lima-report.jsonl
}

# Begins folder $2 with the runs of log $1.runs.jsonl, and what their models wrote, unless it has
# begun or there is no such log.
take_runs() {
  if [ ! -e "$2/runs.jsonl" ] && [ -e "$1.runs.jsonl" ]; then
    mkdir -p "$2"
    cp "$1.runs.jsonl" "$2/runs.jsonl"
    [ ! -e "$1.answers.jsonl.gz" ] || gunzip -c "$1.answers.jsonl.gz" > "$2/answers.jsonl"
  fi
}

# Begins folder $2 with the judgements $1.judgements.jsonl.gz, unless it has some.
take_judgements() {
  if [ ! -e "$2/judgements.jsonl" ] && [ -e "$1.judgements.jsonl.gz" ]; then
    gunzip -c "$1.judgements.jsonl.gz" > "$2/judgements.jsonl"
  fi
}
