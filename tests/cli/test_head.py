"""``instructmining head``: a preference file in, a file of heads out, used by score."""

from __future__ import annotations

import json
import random

import numpy as np
import polars as pl
import pytest

from instructmining.models.heads import load_heads
from models.tiny import save_causal_lm

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return save_causal_lm(tmp_path_factory.mktemp("lm"))


@pytest.fixture
def preferences(tmp_path):
    rng = random.Random(0)
    words = ["the", "keeper", "wrote", "a", "line", "and", "went", "to", "sea"]
    lines = [
        {
            "prompt": f"Say something, number {i}.",
            "chosen": "lighthouse " + " ".join(rng.choices(words, k=8)),
            "rejected": "letter " + " ".join(rng.choices(words, k=8)),
        }
        for i in range(40)
    ]
    lines.append({"prompt": "x", "chosen": "same", "rejected": "same"})
    path = tmp_path / "preferences.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def pool(tmp_path):
    rows = [
        {"instruction": f"Go, number {i}.", "output": f"{word} keeper went to sea"}
        for i in range(10)
        for word in ("lighthouse", "letter")
    ]
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(rows))
    return path


def test_a_head_is_trained_shown_and_used(run, preferences, pool, lm, tmp_path):
    own, store = tmp_path / "own.safetensors", tmp_path / "store"

    fitted = run("head", "fit", preferences, "-o", own, "--lm", lm, "--store", store)

    assert fitted.code == 0, fitted.err
    assert fitted.out.splitlines()[-1] == str(own)
    assert "40 pairs; left out: equal_responses 1" in fitted.err
    assert load_heads(own).card["rew"]["cross_validation"]["n_pairs"] == 40
    shown = run("head", "show", own)
    assert "rew" in shown.out
    assert "40 instructions" in shown.out
    card = json.loads(run("head", "show", own, "--json").out)
    assert card["rew"]["files"][0]["layout"] == "trl-standard"

    out = tmp_path / "scores.parquet"
    scored = run(
        *("score", pool, "-o", out, "--indicators", "rew,nll", "--lm", lm),
        *("--reward", own, "--store", store),
    )
    assert scored.code == 0, scored.err
    rewards = pl.read_parquet(out)["rew"].to_numpy().reshape(-1, 2)
    assert np.mean(rewards[:, 0] > rewards[:, 1]) > 0.8


def test_a_head_for_a_column_the_file_has_not_is_refused(run, preferences, pool, lm, tmp_path):
    own, store = tmp_path / "own.safetensors", tmp_path / "store"
    assert run("head", "fit", preferences, "-o", own, "--lm", lm, "--store", store).code == 0

    ended = run(
        *("score", pool, "-o", tmp_path / "s.parquet", "--indicators", "nat", "--lm", lm),
        *("--evaluator", own, "--store", store),
    )

    assert f"nat: no head for it in {own}, which has rew" in ended.error


def test_a_head_of_another_model_is_refused_before_anything_is_read(run, pool, lm, tmp_path):
    ended = run(
        *("score", pool, "-o", tmp_path / "s.parquet", "--indicators", "rew", "--lm", lm),
        *("--store", tmp_path / "store"),
    )
    assert "rew: the small head reads the states of" in ended.error
    assert "--reward" in ended.error


def test_an_output_that_is_no_file_of_heads_is_refused(run, preferences, lm, tmp_path):
    ended = run("head", "fit", preferences, "-o", tmp_path / "own.json", "--lm", lm)
    assert "heads are written to .safetensors files" in ended.error


def test_a_file_without_preferences_is_refused(run, pool, lm, tmp_path):
    ended = run("head", "fit", pool, "-o", tmp_path / "own.safetensors", "--lm", lm)
    assert "chosen" in ended.error


def test_a_file_of_too_few_pairs_is_refused(run, lm, tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")

    ended = run(
        *("head", "fit", path, "-o", tmp_path / "own.safetensors", "--lm", lm),
        *("--store", tmp_path / "store"),
    )

    assert "rew: 1 different instructions" in ended.error
    assert not (tmp_path / "own.safetensors").exists()


def test_a_missing_file_of_heads_is_named(run, tmp_path):
    assert (
        "none.safetensors: no such file" in run("head", "show", tmp_path / "none.safetensors").error
    )
