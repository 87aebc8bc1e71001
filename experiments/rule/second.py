"""Another starting point for the rule's experiment: the base model, tuned on other rows first.

Usage: python experiments/rule/second.py PLAN.json MODEL_FOLDER OUT.plan.json [MIXTURES]

Tunes every weight of the plan's base model for two epochs on all rows of two sources (people's
long answers, guanaco and lima), saves the model, and writes a plan of the first mixtures of
PLAN (by default 40, the most telling ones), one seed each, that starts from it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from instructmining.examples import Example
from instructmining.experiments.execute import base_model_files
from instructmining.experiments.plan import Plan, evaluation_examples, rows_of_sources
from instructmining.experiments.planning import read_materials
from instructmining.experiments.tuning.finetune import Finetuner
from instructmining.experiments.tuning.training import TrainingSetting
from instructmining.models.sources import resolve

FIRST = ("guanaco", "lima")
SETTING = TrainingSetting(
    method="full", learning_rate=5e-5, epochs=2, batch_size=16, max_tokens=256
)
SEED = 1


def rows(plan: Plan) -> list[Example]:
    """Return all usable rows of the sources tuned on first: none overlaps an evaluation set."""
    paths = {source.name: source.path for source in plan.sources if source.name in FIRST}
    sets = [(one.name, one.path, one.part) for one in plan.evaluations]
    materials = read_materials(paths, sets)
    return list(rows_of_sources(materials.sources, materials.rows).values())


def main(drawn: Path, folder: Path, out: Path, n: int = 40) -> None:
    """Tune, save, and write the plan."""
    plan = Plan.load(drawn)
    evaluation_examples(plan)  # refuses files that are not those the plan was drawn for
    tuner = Finetuner(base_model_files(plan), SETTING)
    with tuner.tuned(rows(plan), seed=SEED) as model:
        model.to(tuner.base.dtype).save_pretrained(folder)
    tuner.chat.tokenizer.save_pretrained(folder)
    files = resolve(str(folder))
    base = {**plan.setting.base_model, "name": str(folder), "weights": files.weights}
    setting = replace(plan.setting, base_model=base, seeds=(0,), replicated=None)
    replace(plan, setting=setting, mixtures=plan.mixtures[:n]).save(out)


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 5:
        sys.exit(f"usage: {sys.argv[0]} PLAN.json MODEL_FOLDER OUT.plan.json [MIXTURES]")
    main(*map(Path, sys.argv[1:4]), *map(int, sys.argv[4:]))
