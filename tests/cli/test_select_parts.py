"""`instructmining select` from a pool in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from instructmining.parts.pool import SCORES
from instructmining.rules.rule import Rule
from instructmining.selection.select import DECISIONS
from parts.pools import make_pool


def test_the_command_scores_what_has_no_scores(run, tmp_path, byte_tokenizer):
    pool = make_pool(tmp_path, [30, 20], 1)
    for part in pool.parts:
        Path(f"{part.address}{SCORES}").unlink()
    rule = Rule(columns=["mtld"]).fit({"mtld": [1.0, 2.0, 4.0]}, [0.1, 0.2, 0.3])
    rule.save(tmp_path / "rule.json")
    store = ("--store", tmp_path / "store", "--rule", tmp_path / "rule.json", "--keep", 7)
    store = (*store, "--lm", byte_tokenizer)
    done = run("select", tmp_path / "pool" / "*.jsonl", *store, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "Kept 7 of 50 rows" in done.out
    whole = run("select", pool.joined, *store, "-o", tmp_path / "best.jsonl")
    assert whole.code == 0, whole.err
    kept = [(tmp_path / "out" / part.name).read_text() for part in pool.parts]
    assert "".join(kept) == (tmp_path / "best.jsonl").read_text()
    assert (tmp_path / "out" / "scores" / f"part-0.jsonl{SCORES}").is_file()
    explained = run("explain", tmp_path / "out" / f"part-1.jsonl{DECISIONS}", 3)
    assert explained.code == 0, explained.err
    assert run("verify", tmp_path / "out" / "selection.json").code == 0
    (tmp_path / "out" / "part-0.jsonl").write_text("")
    assert run("verify", tmp_path / "out" / "selection.json").code == 1


@pytest.mark.parametrize(
    "option",
    [
        ["--diverse"],
        ["--min-distance", "0.2"],
        ["--order", "rank"],
        ["--report", "p.html"],
        ["--overlap", "flag"],
        ["--overlap-distance", "0.3"],
    ],
)
def test_what_needs_all_rows_in_one_place_is_refused(run, tmp_path, option):
    make_pool(tmp_path, [9], 1)
    refused = run(
        "select", tmp_path / "pool" / "*.jsonl", "--keep", 3, *option, "-o", tmp_path / "o"
    )
    assert f"{option[0]}: wants all rows of the pool in one place" in refused.error
    assert not (tmp_path / "o").exists()


def test_a_pattern_that_names_nothing(run, tmp_path):
    refused = run("select", tmp_path / "*.jsonl", "--keep", 3, "-o", tmp_path / "o")
    assert "no file has such a name" in refused.error
