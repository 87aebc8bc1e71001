"""A small plan over two pools that differ in lexical diversity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from instructmining.experiments.plan import Plan, Setting
from instructmining.experiments.planning import make_plan, read_materials
from instructmining.experiments.specs import parse_mixture
from instructmining.experiments.tuning.training import TrainingSetting
from models.tiny import files_of
from texts import write_pool

MIXTURES = ("m1=few", "m2=many", "m3=few:1,many:1")


def write_files(folder: Path) -> dict[str, str]:
    """Write the pools and an evaluation file: few letters make many repeated words."""
    return {
        "few": write_pool(folder / "few.jsonl", 20, letters="ab", seed=1, n_words=20),
        "many": write_pool(folder / "many.jsonl", 20, letters="cdefghijklm", seed=2),
        "evaluation": write_pool(folder / "evaluation.jsonl", 6, letters="nopqrst", seed=3),
    }


def plan_of(
    files: dict[str, str],
    model: Path,
    *,
    draw_seed: int = 0,
    seeds: tuple[int, ...] = (0, 1),
    parts: Sequence[tuple[str, str]] = (("whole", "all"), ("fit", "fit")),
    epochs: int = 1,
) -> Plan:
    """Draw three mixtures of six rows, to be measured on parts of the evaluation file."""
    sources = {name: files[name] for name in ("few", "many")}
    found = files_of(model)
    setting = Setting(
        {"name": found.name, "weights": found.weights},
        TrainingSetting(rank=2, learning_rate=1e-2, epochs=epochs, max_tokens=256).to_json(),
        size=6,
        seeds=seeds,
        draw_seed=draw_seed,
    )
    specs = [parse_mixture(text, sources) for text in MIXTURES]
    evaluations = [(name, files["evaluation"], part) for name, part in parts]
    return make_plan(read_materials(sources, evaluations), specs, setting)
