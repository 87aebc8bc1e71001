"""The paper's nine indicators and its two rules, with tiny models of the paper's kinds."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from instructmining.models.heads import Head, HeadFile
from instructmining.models.sources import resolve
from models.tiny import EXAMPLES, save_causal_lm, save_encoder
from models.tiny_reward import save_deberta_reward, save_oasst_reward
from models.tiny_t5 import save_t5

NINE = ["len_in", "len_out", "rew", "ppl", "mtld", "knn_6", "nat", "coh", "und"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("paper")
    return {
        "lm": save_causal_lm(place / "lm"),
        "encoder": save_encoder(place / "encoder"),
        "reward": save_oasst_reward(place / "oasst"),
        "deberta": save_deberta_reward(place / "deberta"),
        "evaluator": save_t5(place / "t5"),
    }


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    rows = [
        {
            "messages": [{"role": t.role, "content": t.content} for t in e.turns]
            + [{"role": "assistant", "content": e.response}]
        }
        for e in EXAMPLES
        if e.turns
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def named(folders, *roles):
    return [word for role in roles for word in (f"--{role}", folders[role])]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def test_the_preset_fills_all_nine_columns(run, pool, folders, store, tmp_path):
    out = tmp_path / "scores.parquet"
    models = named(folders, "lm", "encoder", "reward", "evaluator")

    ended = run("score", pool, "-o", out, "--preset", "paper", "--store", store, *models)

    assert ended.code == 0, ended.err
    frame = pl.read_parquet(out)
    assert set(NINE) <= set(frame.columns)
    assert frame.height == len(pool.read_text().splitlines())
    assert frame.select(NINE).null_count().sum_horizontal().item() == 0
    assert frame["rew"].n_unique() == frame.height
    assert frame["und_p"].is_between(0, 1).all()


def test_each_preset_names_its_models(run, pool, monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")
    ended = run("score", pool, "--dry-run", "--preset", "paper")

    assert ended.code == 0
    for name in ("Llama-2-7b-hf", "oasst-rm-2.1-pythia-1.4b", "unieval-dialog", "to be fetched"):
        assert name in ended.out
    assert "smollm2" in run("score", pool, "--dry-run").out


def refused_then_allowed(run, words, out):
    """Select three rows: refused for its reward, done where the mismatch is allowed."""
    refused = run(*words, "-o", out)
    assert "rew" in refused.error and "--allow-mismatch" in refused.error
    assert not out.exists()

    ended = run(*words, "-o", out, "--allow-mismatch")
    assert ended.code == 0, ended.err
    assert len(out.read_text().splitlines()) == 3
    return ended


@pytest.mark.parametrize(
    ("rule", "reward"), [("instructmining-v1", "deberta"), ("instructmining-v2", "reward")]
)
def test_published_rules_apply_where_a_mismatch_is_allowed(
    run, pool, folders, store, tmp_path, rule, reward
):
    words = ["select", pool, "--rule", rule, "--keep", 3, "--store", store]
    words += [*named(folders, "lm", "encoder", "evaluator"), "--reward", folders[reward]]
    out = tmp_path / "kept.jsonl"

    ended = refused_then_allowed(run, words, out)
    assert "rew" in ended.out  # the mismatch is said aloud
    decisions = pl.read_parquet(f"{out}.decisions.parquet")
    assert decisions["kept"].sum() == 3


def test_a_small_head_is_not_taken_for_the_papers_reward_model(run, pool, folders, store, tmp_path):
    weight = np.random.default_rng(0).standard_normal((1, 32)).astype(np.float32)
    weights = resolve(str(folders["lm"])).weights
    heads = HeadFile({"rew": Head("rew", (2,), weight, 0.0)}, "tiny", weights, {})
    own = tmp_path / "own.safetensors"
    heads.save(own)
    words = ["select", pool, "--rule", "instructmining-v1", "--keep", 3, "--store", store]
    words += [*named(folders, "lm", "encoder"), "--reward", own]

    refused_then_allowed(run, words, tmp_path / "kept.jsonl")


def test_what_the_evaluator_is_shown_is_part_of_the_definition(run, pool, folders, tmp_path):
    words = ["score", pool, "--indicators", "coh", *named(folders, "lm", "evaluator")]
    definitions = []
    for history in ("readme", "plain"):
        out = tmp_path / f"{history}.parquet"
        assert run(*words, "-o", out, "--evaluator-history", history).code == 0
        definitions.append(pl.read_parquet_metadata(out))
    assert '"history": "readme"' in str(definitions[0])
    assert '"history": "plain"' in str(definitions[1])


def test_a_missing_reward_model_shows_before_anything_is_computed(run, pool, folders, tmp_path):
    store = tmp_path / "store"
    words = ["score", pool, "-o", tmp_path / "s.parquet", "--indicators", "nll,rew"]

    ended = run(*words, "--store", store, *named(folders, "lm"))

    assert "--reward" in ended.error
    assert not store.exists()


def test_a_table_without_a_target_is_refused(run, pool):
    assert "--output" in run("score", pool).error
