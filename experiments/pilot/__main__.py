"""Compare training settings by how well losses tell mixtures apart from seeds.

Usage, from the folder of the repository::

    python -m experiments.pilot RUNS.jsonl...

One log per setting, as settings.sh writes them. A setting is good where the variance of the
log loss between mixtures is large against that between training seeds of one mixture. Prints
Markdown: that ratio, how far training took the model, time, and what a rule's experiment in
that setting could find.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from experiments.runs_table import markdown

from instructmining.rules.diagnose import Noise, noise
from instructmining.rules.power import detectable, expected_standard_error
from instructmining.rules.runlog import Run, evaluation_names, read_runs, tuned
from instructmining.rules.runtable import RunTable, Weighting, log_loss, run_table
from instructmining.rules.validate import spearman

#: Mixtures of the experiment planned, and of a third of it.
SIZES = (40, 129)
#: What power is told for: columns that explain half of the variance between mixtures, a
#: variance inflation factor of 2, and 14 terms (intercept, eight sources less one, six columns).
EXPLAINED, VIF, TERMS = 0.5, 2.0, 14


@dataclass(frozen=True)
class Setting:
    """One setting's log, read for one dependent variable.

    Parameters
    ----------
    name : str
        What `label` calls it.
    table : RunTable
        Its runs, without columns.
    noise : Noise
        Variances of the log loss.
    change : float
        Mean log loss of the tuned models less that of the untuned one.
    seconds : float
        Time of a run.
    """

    name: str
    table: RunTable
    noise: Noise
    change: float
    seconds: float


def read(path: Path, evaluation: Sequence[str] | None, weighting: Weighting) -> Setting:
    """Read a log for one dependent variable: the mean log loss over some evaluation sets."""
    runs = read_runs([path])
    rows = tuned(runs)
    if not rows:
        sys.exit(f"{path}: no tuned model in this log; make its runs, or leave it out")
    names = tuple(evaluation or evaluation_names(runs))
    table = run_table(rows, names, {}, weighting)
    untuned = [log_loss(run, names, weighting) for run in runs if run["mixture"] is None]
    change = float(table.y.mean() - np.mean(untuned)) if untuned else math.nan
    seconds = [sum(run["seconds"].values()) for run in rows if run.get("seconds")]
    # A setting dropped after its first mixture says nothing of differences between mixtures.
    known = noise(table) if table.n_mixtures > 1 else Noise(math.nan, None, None, 0, None)
    return Setting(label(rows[0]), table, known, change, float(np.mean(seconds)))


def label(run: Run) -> str:
    """Name a run's setting: method, last layers if it trains these only, rate, mixture size."""
    training = run["training"]
    layers = training.get("n_layers", "")
    return f"{training['method']}{layers} {training['learning_rate']:g}, {run['n_examples']} rows"


def variance_table(settings: Sequence[Setting]) -> list[list[str]]:
    """Return header and rows: one per setting, the best told apart first."""
    header = ["setting", "runs", "change of log loss", "sd between mixtures", "sd between seeds"]
    header += ["ratio of variances", "seconds a run"]
    header += [f"detectable with {n}" for n in SIZES]
    rows = [header]
    for one in sorted(settings, key=lambda setting: -_ratio(setting.noise)):
        between, seeds = one.noise.between, one.noise.seeds
        cells = [one.name, str(len(one.table.y)), f"{one.change:+.4f}"]
        if between is None or seeds is None:
            rows.append([*cells, *["–"] * 3, f"{one.seconds:.0f}", *["–"] * len(SIZES)])
            continue
        cells += [f"{math.sqrt(value):.5f}" for value in (between, seeds)]
        cells += [f"{_ratio(one.noise):.1f}", f"{one.seconds:.0f}"]
        rows.append([*cells, *(_detectable(between, seeds, n) for n in SIZES)])
    return rows


def agreement_table(settings: Sequence[Setting]) -> list[list[str]]:
    """Return header and rows: rank correlation of the mixtures' losses between settings."""
    rows = [["settings", "rank correlation over mixtures"]]
    for one, two in combinations(settings, 2):
        shared = [name for name in one.table.names if name in two.table.names]
        losses = [
            np.array([each.table.means(each.table.y)[each.table.names.index(n)] for n in shared])
            for each in (one, two)
        ]
        found = spearman(*losses)
        rows.append([f"{one.name}, {two.name}", "–" if found is None else f"{found:.2f}"])
    return rows


def _ratio(noise: Noise) -> float:
    if noise.between is None or not noise.seeds:
        return 0.0
    return noise.between / noise.seeds


def _detectable(between: float, seeds: float, n_mixtures: int) -> str:
    if between == 0:
        return "nothing"
    error = expected_standard_error(between, seeds, n_mixtures, explained=EXPLAINED, vif=VIF)
    effect = detectable(error, n_mixtures - TERMS)
    return f"{effect:.2f} sd, {effect * math.sqrt(between + seeds):.5f}"


def main(paths: Sequence[Path]) -> str:
    """Return the tables of all dependent variables as Markdown."""
    common = set.intersection(*(set(evaluation_names(read_runs([path]))) for path in paths))
    found = []
    for weighting in ("token", "example"):
        for names in ([], *([name] for name in sorted(common))):
            evaluation = names or sorted(common)
            settings = [read(path, evaluation, weighting) for path in paths]
            found.append(f"### {' and '.join(evaluation)}, by {weighting}\n")
            found.append(markdown(variance_table(settings)) + "\n")
            if not names and len(settings) > 1:
                found.append(markdown(agreement_table(settings)) + "\n")
    return "\n".join(found)


if __name__ == "__main__":
    sys.stdout.write(main([Path(argument) for argument in sys.argv[1:]]))
