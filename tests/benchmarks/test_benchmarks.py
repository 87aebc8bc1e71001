"""The benchmarks run; their numbers are not looked at here."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from benchmarks.ceiling import Shape, best_product, causal_pairs, causal_work, encoder_work
from benchmarks.pool import sample
from benchmarks.timing import REPOSITORY

from benchmarks import encoder, likelihood
from instructmining.examples import Example, Turn
from instructmining.models.encoder import EncoderPass
from instructmining.models.runtime import pick_device, pick_dtype
from instructmining.models.sources import DEFAULT_ENCODER, resolve


def test_startup_as_a_user_runs_it(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "startup", "--repeats", "1"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "instructmining --help" in done.stdout
    assert "processor" in done.stdout
    (row,) = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert len(row["ours"]) == len(row["theirs"]) == 5
    assert 0 < min(row["theirs"]) < min(row["ours"])


def test_an_unknown_benchmark_is_refused():
    command = [sys.executable, "-m", "benchmarks", "nothing"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sample_is_the_same_every_time():
    first, name = sample(5, 0)
    again, _ = sample(5, 0)
    other, _ = sample(5, 1)
    assert first == again != other
    assert [example.row for example in first] == sorted({example.row for example in first})
    assert all(example.scorable for example in first)
    assert name


def test_useful_operations_of_a_small_transformer():
    # One layer of width 4, feed-forward 8: 4 maps of 4 x 4 and 2 of 4 x 8 weights.
    class Bert:
        hidden_size, intermediate_size, num_hidden_layers = 4, 8, 1

    shape = Shape.of_bert(Bert)
    assert shape == Shape(1, 4 * 16 + 2 * 32, 4)
    # 3 tokens that all see each other.
    assert shape.operations(3, 9) == 2 * 128 * 3 + 4 * 4 * 9

    # Grouped keys: one head of keys for two of queries; a head over 10 words.
    class Llama:
        hidden_size, intermediate_size, num_hidden_layers = 4, 8, 2
        num_attention_heads, num_key_value_heads, head_dim, vocab_size = 2, 1, 3, 10

    shape = Shape.of_llama(Llama)
    assert shape == Shape(2, 4 * 6 + 2 * 4 * 3 + 6 * 4 + 3 * 4 * 8, 6, 40)
    assert shape.operations(0, 0, targets=5) == 2 * 40 * 5


@pytest.mark.parametrize(("tokens", "before"), [(1, 0), (3, 0), (4, 5)])
def test_causal_pairs(tokens, before):
    seen = np.tril(np.ones((tokens, before + tokens)), k=before)
    assert causal_pairs(tokens, before) == seen.sum()


def test_the_ceiling_is_a_rate(monkeypatch, one_thread):
    monkeypatch.setattr("benchmarks.ceiling.SIZES", (64, 128))
    assert best_product("float32", 1) > 0.01


@pytest.mark.models
def test_likelihoods_agree_with_a_plain_loop(one_thread):
    examples, _ = sample(3, 0)
    ours, theirs = likelihood.library()(examples), likelihood.plain_loop()(examples)
    assert ours.shape == (3, 2)
    np.testing.assert_allclose(ours, theirs, rtol=5e-2 if _half_precision() else 1e-4)


@pytest.mark.models
def test_embeddings_agree_with_sentence_transformers(one_thread):
    examples, _ = sample(3, 0)
    encode = EncoderPass(resolve(DEFAULT_ENCODER))
    ours, theirs = encoder.library(encode)(examples), encoder.sentence_transformers()(examples)
    np.testing.assert_allclose(ours, theirs, atol=encoder.TOLERANCE)


@pytest.mark.models
def test_useful_operations_of_the_small_models():
    response = "one two three four five six seven"
    one = [Example(0, (Turn("user", "Count."),), response)]
    same = [*one, Example(1, (Turn("user", "Count."),), response)]
    two = [*one, Example(1, (Turn("user", "Count on."),), response)]
    assert causal_work(same) == causal_work(one)
    # The constant beginning is counted once: a second row costs less than the first.
    assert causal_work(one) < causal_work(two) < 2 * causal_work(one)
    assert encoder_work([10]) == pytest.approx(2 * 10.62e6 * 10, rel=0.01)


def _half_precision():
    return pick_dtype(pick_device()) != torch.float32
