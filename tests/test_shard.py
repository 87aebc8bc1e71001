from __future__ import annotations

import pytest

from instructmining.errors import ExperimentError
from instructmining.shard import Shard


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, Shard(1, 1)),
        ({"RANK": "0"}, Shard(1, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, Shard(3, 4)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, Shard(2, 2)),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, Shard(1, 2)),
    ],
)
def test_a_process_takes_the_shard_its_launcher_numbers(monkeypatch, environment, shard):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Shard.from_environment() == shard


@pytest.mark.parametrize(("rank", "size"), [("4", "4"), ("-1", "2"), ("x", "2")])
def test_a_launcher_whose_numbers_make_no_sense_is_refused(monkeypatch, rank, size):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(ExperimentError, match=f"RANK is '{rank}' and WORLD_SIZE '{size}'"):
        Shard.from_environment()


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2"])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(ExperimentError, match=r"wanted I/N with I from 1 to N, as 1/2"):
        Shard.parse(text)


def test_shards_divide_what_there_is():
    shards = [Shard.parse(f"{i}/3") for i in (1, 2, 3)]
    for position in range(10):
        assert [shard.holds(position) for shard in shards].count(True) == 1
