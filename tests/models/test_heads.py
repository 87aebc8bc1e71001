"""Files of heads: what is written is read, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from instructmining.errors import ModelError
from instructmining.models.heads import Head, HeadFile, load_heads, stacked


def head(column="rew", seed=0, layers=(1, 3)):
    weight = np.random.default_rng(seed).standard_normal((len(layers), 4)).astype(np.float32)
    return Head(column, layers, weight, -0.5)


def saved(path, **changes):
    heads = {"rew": head("rew"), "nat": head("nat", 1, (2,))}
    given = {"heads": heads, "lm": "some/model", "lm_weights": "abc", "card": {"rew": {"n": 3}}}
    file = HeadFile(**{**given, "trained_on": frozenset({"0a" * 16, "ff" * 16}), **changes})
    file.save(path)
    return file


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "own.safetensors"
    file = saved(path)

    found = load_heads(path)

    assert (found.lm, found.lm_weights, found.card) == ("some/model", "abc", {"rew": {"n": 3}})
    assert found.trained_on == file.trained_on
    assert sorted(found.heads) == ["nat", "rew"]
    for column, own in file.heads.items():
        assert found.heads[column].hash == own.hash
        assert found.heads[column].layers == own.layers
        np.testing.assert_array_equal(found.heads[column].weight, own.weight)


def test_a_file_may_name_no_instruction(tmp_path):
    saved(tmp_path / "own.safetensors", trained_on=frozenset())
    assert load_heads(tmp_path / "own.safetensors").trained_on == frozenset()


def test_the_score_is_the_sum_over_layers():
    own = head()
    states = {k: np.random.default_rng(k).standard_normal((5, 4)) for k in (1, 3)}

    wanted = [states[1][i] @ own.weight[0] + states[3][i] @ own.weight[1] - 0.5 for i in range(5)]

    np.testing.assert_allclose(own.score(states), wanted, rtol=1e-6)
    side_by_side = stacked(states, own.layers) @ own.weight.ravel() - 0.5
    np.testing.assert_allclose(side_by_side, wanted, rtol=1e-6)


def test_a_response_without_states_has_no_score():
    states = {k: np.full((2, 4), np.nan) for k in (1, 3)}
    assert np.isnan(head().score(states)).all()


@pytest.mark.parametrize("change", ["column", "layers", "weight", "bias"])
def test_whatever_changes_scores_changes_the_hash(change):
    own = head()
    parts = {
        "column": "nat",
        "layers": (1, 2),
        "weight": own.weight * np.float32(1.001),
        "bias": -0.4,
    }
    given = {name: getattr(own, name) for name in parts}
    assert Head(**{**given, change: parts[change]}).hash != own.hash


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"none\.safetensors: no such file"):
        load_heads(tmp_path / "none.safetensors")


def test_another_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": np.zeros(3, dtype=np.float32)}, path)
    with pytest.raises(ModelError, match="not a file of heads"):
        load_heads(path)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "own.safetensors"
    saved(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelError, match="not a file of heads"):
        load_heads(path)


def test_a_file_of_another_version_is_refused(tmp_path, monkeypatch):
    from instructmining.models import heads

    monkeypatch.setattr(heads, "_SCHEMA", "0")
    saved(tmp_path / "own.safetensors")
    monkeypatch.undo()
    with pytest.raises(ModelError, match="heads of version '0', wanted 1"):
        load_heads(tmp_path / "own.safetensors")
