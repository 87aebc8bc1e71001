"""A head trained on a tiny model's states learns what its preferences follow."""

from __future__ import annotations

import random

import numpy as np
import pytest

from instructmining.errors import InputError
from instructmining.examples import Example, Turn
from instructmining.heads.preferences import Preference
from instructmining.heads.states import MeanStates, read_features
from instructmining.heads.train import layers_of, train_head
from instructmining.indicators.heads import SmallHead
from instructmining.models.heads import load_heads
from instructmining.scoring.engine import Engine, Silent
from instructmining.scoring.passes import Models
from instructmining.scoring.store import Store
from models.tiny import files_of, save_causal_lm

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_causal_lm(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def engine(folder, tmp_path_factory):
    return Engine(Store(tmp_path_factory.mktemp("store")), Models(lm=str(folder)), Silent())


def preferences(n=60, seed=0):
    """Pairs in which the better response speaks of lighthouses, the worse one of letters."""
    rng = random.Random(seed)
    words = [
        "the",
        "keeper",
        "wrote",
        "a",
        "line",
        "and",
        "went",
        "to",
        "sea",
        "again",
        "in",
        "the",
        "morning",
    ]

    def response(word):
        own = [word, *rng.choices(words, k=rng.randint(3, 12)), word]
        return " ".join(own)

    turns = [(Turn("user", f"Say something, number {i}."),) for i in range(n)]
    return [Preference(i, turns[i], response("lighthouse"), response("letter")) for i in range(n)]


@pytest.fixture(scope="module")
def trained(engine):
    return train_head("rew", preferences(), engine, about={"note": "own"})


def test_pairs_left_out_are_judged_rightly(trained):
    found = trained.agreement
    assert (found.n_pairs, found.n_groups) == (60, 60)
    assert found.accuracy.value > 0.85
    assert found.gain.low > 0
    assert found.longer.value < 0.7
    assert trained.n_unscorable == 0


def test_new_rows_are_ranked_by_what_was_learned(trained, engine, tmp_path):
    path = tmp_path / "own.safetensors"
    trained.file.save(path)
    fresh = preferences(20, seed=7)
    rows = [Example(i, p.turns, text) for i, p in enumerate(fresh) for text in (p.better, p.worse)]

    table = engine.score(rows, [SmallHead("rew", str(path))])

    scores = table.frame["rew"].to_numpy().reshape(-1, 2)
    assert (scores[:, 0] > scores[:, 1]).mean() > 0.8
    definition = table.definitions["rew"]
    assert definition["head"] == trained.file.heads["rew"].hash
    assert definition["weights"] == trained.file.lm_weights


def test_the_file_says_what_it_was_trained_on(trained, tmp_path):
    path = tmp_path / "own.safetensors"
    trained.file.save(path)
    found = load_heads(path)
    assert found.trained_on == {p.group for p in preferences()}
    assert found.card["rew"]["note"] == "own"
    assert found.card["rew"]["cross_validation"]["n_pairs"] == 60


def test_training_again_gives_the_same_bits_from_the_store(trained, engine, folder, monkeypatch):
    again = Engine(engine.store, Models(lm=str(folder)), Silent())
    from instructmining.models.causal import CausalPass

    def refuse(*_):
        raise AssertionError("the model was run again")

    monkeypatch.setattr(CausalPass, "run", refuse)
    assert train_head("rew", preferences(), again).file.heads["rew"].hash == (
        trained.file.heads["rew"].hash
    )


def test_a_head_is_refused_on_another_model(trained, tmp_path, tmp_path_factory, engine):
    path = tmp_path / "own.safetensors"
    trained.file.save(path)
    other = save_causal_lm(tmp_path_factory.mktemp("other"), num_hidden_layers=3)
    models = Models(lm=str(other), reward=str(path))
    rows = [Example(0, (Turn("user", "a"),), "b")]

    with pytest.raises(InputError, match="rew: the small head reads the states of"):
        Engine(engine.store, models, Silent()).score(rows, models.indicators(["rew"]))


def test_pairs_that_cannot_be_run_are_left_out_and_counted(engine):
    pairs = [*preferences(), Preference(60, (Turn("user", "x"),), "fine", "\u200b\ufeff")]
    found = train_head("rew", pairs, engine)
    assert found.agreement.n_pairs + found.n_unscorable == 61


def test_features_are_one_row_per_response_in_order(engine, folder):
    layers, width = layers_of(files_of(folder))
    assert layers[-1] == 2
    rows = [Example(i, (Turn("user", "q"),), f"answer {i} " * (i + 1)) for i in range(5)]

    found = read_features([*rows, rows[0]], layers, width, engine)

    assert found.states.shape == (6, len(layers) * width)
    np.testing.assert_array_equal(found.states[0], found.states[5])
    assert found.n_words.tolist() == [2, 4, 6, 8, 10, 2]
    assert np.isfinite(found.nll).all()
    assert MeanStates(layers, width).label == "states"
