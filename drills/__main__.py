"""``python -m drills``: carry out every drill and write down what came of it."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from drills import clock, cluster, damage, disk, kills, memory, models, objects, sharing
from drills.outcome import Outcome, markdown
from drills.scene import Scene

#: Kills of each stage: at least 50 in all, spread over the stages by how long they take.
KILLS = {"score": 20, "experiment": 16, "fit": 8, "select": 8}
DRILLS = {
    "kills": lambda scene, chance: kills.kills(scene, chance, KILLS),
    "disk": disk.full_disks,
    "damage": damage.damaged_files,
    "sharing": sharing.two_processes,
    "clock": clock.clocks,
    "memory": memory.short_memory,
    "models": models.changed_models,
    "cluster": cluster.clusters,
    "objects": objects.object_stores,
}


def main() -> int:
    """Run the drills named, or all; return 1 if anything deviates."""
    parser = argparse.ArgumentParser(prog="python -m drills", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("drill-output"), help="result folder")
    parser.add_argument("--seed", type=int, default=20_230_712, help="seed of every moment")
    parser.add_argument("--only", action="append", choices=DRILLS, help="one drill; repeatable")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="drills-") as folder:
        scene = Scene(Path(folder)).build()
        for name in options.only or DRILLS:
            # Each drill draws its own moments, so that one alone meets the same ones.
            for outcome in DRILLS[name](scene, random.Random(f"{options.seed} {name}")):
                outcomes.append(outcome)
                sys.stderr.write(markdown([outcome]))
                _write(options.out, options.seed, outcomes)
    sys.stdout.write(markdown(outcomes))
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _write(out: Path, seed: int, outcomes: list[Outcome]) -> None:
    result = {
        "seed": seed,
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in ("instructmining", "torch", "pyarrow")},
        "drills": [asdict(outcome) for outcome in outcomes],
    }
    (out / "drills.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / "drills.md").write_text(markdown(outcomes), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
