"""What scoring holds in memory does not grow with the texts of a pool."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from scoring.word_model import save_word_model

#: Scores pools made up as they are read; prints the most that was allocated for two of them.
SCRIPT = """
import json, sys, tracemalloc
from pathlib import Path
import numpy as np
from instructmining.examples import Example, Turn
from instructmining.indicators.base import indicators_for
from instructmining.models.base import CausalOutput, Item
from instructmining.scoring import fill
from instructmining.scoring.engine import Engine
from instructmining.scoring.passes import Models
from instructmining.scoring.store import Store

fill._CHUNK, fill._PREPARED = 128, 128

class Source:
    def __init__(self, n):
        self.n = n

    def examples(self):
        for row in range(self.n):
            yield Example(row, (Turn("user", f"{row}?"),), f"{row} " + "word and " * 60)

class Pass:
    budget = 4096
    definition, recorded = {"model": "m"}, {}

    def prepare(self, examples):
        ids = np.arange(400, dtype=np.int32)
        return [Item(e.row, 400 - e.row % 7, "", (ids, ids)) for e in examples]

    def run(self, items):
        assert all(len(item.payload[1]) == 400 for item in items)
        return CausalOutput(np.ones(len(items)))

class Planned(Models):
    def build(self, needs):
        needs = list(needs)
        return Pass() if needs[0].kind == "causal" else super().build(needs)

folder, model = Path(sys.argv[1]), sys.argv[2]
peaks = {}
for columns in ("len,mtld", "nll"):
    # The first run loads libraries, which is not what is measured.
    for n in (150, 400, 2_400):
        engine = Engine(Store(folder / columns / str(n)), Planned(model))
        tracemalloc.start()
        table = engine.score(Source(n), indicators_for(columns.split(",")))
        assert table.frame.height == n
        peaks.setdefault(columns, []).append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
json.dump(peaks, sys.stdout)
"""


def test_a_row_costs_some_bytes_and_its_text_none(tmp_path):
    model = save_word_model(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "store"), str(model)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # A text here has 540 characters, its object 900 bytes, its token ids 3,200.
    for columns, (_, small, large) in json.loads(done.stdout).items():
        assert (large - small) / 2_000 < 250, columns
