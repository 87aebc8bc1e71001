"""A short set of the drills of ``make drill``: columns without a model, few faults of each kind."""

from __future__ import annotations

import random

import pytest
from drills.outcome import Outcome, markdown
from drills.scene import Scene

from drills import clock, damage, disk, kills, sharing

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    return Scene(folder, n_rows=200, columns=("len_out", "mtld")).build(["score"])


@pytest.fixture
def chance() -> random.Random:
    return random.Random(20_230_712)


def passed(*outcomes: Outcome) -> bool:
    assert all(outcome.passed for outcome in outcomes), markdown(outcomes)
    return bool(outcomes)


def test_killed_runs_go_on(scene, chance):
    (found,) = kills.kills(scene, chance, {"score": 4})
    assert passed(found)
    assert found.times == 4


def test_damaged_shards(scene, chance):
    (found,) = damage.damaged_files(scene, chance, flips=60, cuts=10, kinds=["shard"])
    assert passed(found)
    assert found.ends["refused by name"] > 20


def test_a_full_disk(scene):
    assert passed(disk.limited(scene, "score", (0, 4_000)))


def test_two_processes_at_one_moment(scene, chance):
    assert passed(sharing.together(scene, chance, 1))


def test_a_clock_going_backwards(scene):
    assert passed(clock.backwards(scene, ["score"]))


def test_what_deviates_is_said():
    outcome = Outcome("fault", "stage")
    assert not outcome.passed, "a fault that never happened proves nothing"
    outcome.ended("well")
    assert outcome.passed
    outcome.expect(True, "nothing")
    outcome.expect(False, "other bits")
    assert not outcome.passed
    assert "other bits" in markdown([outcome])
