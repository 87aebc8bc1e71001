"""`instructmining score`, killed without warning, goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from instructmining.scoring.table import ScoreTable
from models.tiny import save_causal_lm, save_encoder
from scoring.pools import examples

SCRIPT = Path(__file__).with_name("killed.py")
COLUMNS = "len_out,mtld,nll,ppl,ifd,knn_6"
BUDGET = 400
#: Rows of the pool that have a response and repeat no earlier one.
UNIQUE = 38


@pytest.fixture
def place(tmp_path):
    """A folder with two tiny models and a pool of 41 rows, some of them awkward."""
    save_causal_lm(tmp_path / "lm")
    save_encoder(tmp_path / "encoder")
    records = [{"instruction": e.prompt, "output": e.response} for e in examples(37)]
    records += [records[3], {"instruction": "empty", "output": ""}]
    records += [{"instruction": "long", "output": "the cat and the dog " * 40}, records[3]]
    with (tmp_path / "pool.jsonl").open("w") as pool:
        pool.writelines(json.dumps(record) + "\n" for record in records)
    return tmp_path


@pytest.fixture
def batches(monkeypatch):
    """Rows of every batch the model runs here, as small as in the process that is killed."""
    import torch

    from instructmining.models import causal, encoder

    monkeypatch.setattr(causal, "token_budget", lambda device: BUDGET)
    monkeypatch.setattr(encoder, "token_budget", lambda device: BUDGET)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ran = []
    run = causal.CausalPass.run

    def noted(self, items):
        ran.append([item.row for item in items])
        return run(self, items)

    monkeypatch.setattr(causal.CausalPass, "run", noted)
    yield ran
    torch.set_num_threads(threads)


def arguments(place, store, output):
    return [
        *("score", str(place / "pool.jsonl"), "-o", str(output), "--indicators", COLUMNS),
        *("--lm", str(place / "lm"), "--encoder", str(place / "encoder")),
        *("--store", str(place / store)),
    ]


def score(place, store, output):
    """The same command, in this process."""
    from instructmining import Scoring
    from instructmining import score as scored

    how = Scoring(lm=str(place / "lm"), encoder=str(place / "encoder"), store=place / store)
    scored(place / "pool.jsonl", COLUMNS.split(","), scoring=how).save(output)


def kill(place, moment, n, store, output):
    """Start the command in a process of its own and kill it at the moment; return its talk."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, moment, str(n), str(BUDGET), *arguments(place, store, output)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    talk = []
    with process:
        for line in process.stderr:
            talk.append(line)
            if line == "now\n":
                process.kill()
                break
        else:
            pytest.fail(f"ended before it was killed: {''.join(talk)}")
    assert process.returncode == -signal.SIGKILL
    return "".join(talk)


def stored(place, indicator):
    """Content hashes of the rows of one column that are on disk."""
    shards = list((place / "killed").glob(f"{indicator}-*/*.parquet"))
    return {digest for path in shards for digest in pl.read_parquet(path)["example"]}


def test_killed_run_goes_on_and_ends_with_the_same_bits(place, batches):
    whole_file, output = place / "whole.parquet", place / "killed.parquet"
    score(place, "undisturbed", whole_file)
    planned = [list(batch) for batch in batches]
    assert len(planned) > 6
    assert sum(map(len, planned)) == UNIQUE

    finished = 0
    for moment, n in (("model", 3), ("half", 4), ("stored", 3)):
        reused = len(stored(place, "nll") & stored(place, "ifd"))
        assert reused == finished
        talk = kill(place, moment, n, "killed", output)
        assert not output.exists(), "a table is finished or not there"
        # The batch it died in is the most that is lost: those before it were reused.
        if reused:
            assert f"nll ppl ifd: reused {reused} of {UNIQUE} rows" in talk
        finished = len(stored(place, "nll") & stored(place, "ifd"))
        assert reused < finished < UNIQUE
        if moment == "half":
            assert len(stored(place, "nll")) > finished
            assert len(list((place / "killed").rglob("*.tmp"))) == 1

    batches.clear()
    score(place, "killed", output)
    assert batches == planned[len(planned) - len(batches) :], "the same batches, less those done"
    assert sum(map(len, batches)) == UNIQUE - finished, "only what was missing is run"
    assert output.read_bytes() == whole_file.read_bytes()

    frame = ScoreTable.load(output).frame
    assert frame.height == 41
    assert frame["nll"].is_null().to_list() == [row == 38 for row in range(41)]
    flags = frame["flags"].to_list()
    assert [row for row, codes in enumerate(flags) if "duplicate" in codes] == [37, 40]
    assert flags[38] == ["empty_response"]
    assert "truncated_embedding" in flags[39]
