"""Worker processes give what this process would, or their work is done here."""

from __future__ import annotations

import os
import signal
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from instructmining.examples import Example, Turn
from instructmining.indicators.base import indicators_for
from instructmining.indicators.mtld import LexicalDiversity
from instructmining.scoring import fill, labour
from instructmining.scoring.engine import Engine
from instructmining.scoring.store import Store
from instructmining.scoring.workers import WORTHWHILE, Crew, worker_count
from scoring.counting import CountingModels
from scoring.pools import example, examples


@pytest.fixture(scope="module")
def crew():
    with Crew(2) as workers:
        workers.wait()
        yield workers


def test_values_are_the_same_bits(crew):
    indicators = [LexicalDiversity(), LexicalDiversity(min_factor=10)]
    pools = [examples(30, seed) for seed in range(5)]
    odd = [
        Example(0, (), "no prompt"),
        Example(1, (Turn("user", "a"), Turn("assistant", "b")), "水は百度 \ud800", "file", ("x",)),
        example(2, "p", "?!"),
    ]
    tasks = [crew.submit(indicators, pool) for pool in (*pools, odd)]
    for task, pool in zip(tasks, (*pools, odd), strict=True):
        values = task.values()
        assert len(values) == 2
        for given, indicator in zip(values, indicators, strict=True):
            np.testing.assert_array_equal(given, indicator.transform(pool, None))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_loads_no_model_library(crew):
    crew.submit([LexicalDiversity()], examples(3)).values()
    maps = "".join(Path(f"/proc/{w._process.pid}/maps").read_text() for w in crew._workers)
    assert "numpy" in maps
    assert not [name for name in ("torch", "tokenizers", "polars", "pyarrow") if name in maps]


@dataclass(frozen=True)
class ProcessId(LexicalDiversity):
    """Which process computed it."""

    calls: ClassVar[list[int]] = []

    def transform(self, examples, output):
        self.calls.append(len(examples))
        time.sleep(0.2)
        return np.full((len(examples), 1), float(os.getpid()))


def test_what_no_worker_is_free_for_is_done_here():
    indicators, pool = [ProcessId()], examples(3)
    ProcessId.calls.clear()
    with Crew(1) as crew:
        crew.wait()
        theirs, own = (crew.submit(indicators, pool) for _ in range(2))
        # At once, while the worker works, not when the values are asked for.
        assert ProcessId.calls == [3]
        (pid,) = {worker._process.pid for worker in crew._workers}
        assert own.values()[0][0, 0] == os.getpid()
        assert theirs.values()[0][0, 0] == pid
        assert crew.submit(indicators, pool).values()[0][0, 0] == pid


@dataclass(frozen=True)
class Whole(LexicalDiversity):
    """The process an example arrived in as it was sent; 0 where it did not."""

    reads_turns: ClassVar[bool] = True

    def transform(self, examples, output):
        same = [
            example == Example(place, example.turns, example.response, "a", ("b",))
            and example.digest == Example(0, example.turns, example.response).digest
            and all(type(turn) is Turn for turn in example.turns)
            for place, example in enumerate(examples)
        ]
        return np.where(same, float(os.getpid()), 0.0)[:, None]


def test_a_worker_reads_the_examples_that_were_sent(crew):
    turns = ((), (Turn("user", "a"),), (Turn("system", "\ud800"), Turn("user", "b")))
    pool = [Example(7, given, f"{len(given)}", "a", ("b",)) for given in turns]
    (values,) = crew.submit([Whole()], pool).values()
    assert values.shape == (3, 1)
    (process,) = {*values[:, 0].tolist()}
    assert process not in (0, os.getpid())


def test_a_crew_that_has_not_started_is_not_waited_for():
    with Crew(1) as crew:
        crew._workers[0].free = lambda: False
        assert crew.submit([ProcessId()], examples(2)).values()[0][0, 0] == os.getpid()


def test_work_of_a_worker_that_dies_is_done_here():
    pool = examples(40)
    wanted = LexicalDiversity().transform(pool, None)
    with Crew(1) as crew:
        crew.wait()
        for _ in range(2):
            task = crew.submit([LexicalDiversity()], pool)
            os.kill(crew._workers[0]._process.pid, signal.SIGKILL)
            np.testing.assert_array_equal(task.values()[0], wanted)


def test_a_worker_that_never_starts_is_given_nothing():
    pool = examples(5)
    with Crew(1) as crew:
        crew._workers[0]._process.kill()
        crew._workers[0]._process.wait()
        crew.wait()
        (values,) = crew.submit([LexicalDiversity()], pool).values()
    np.testing.assert_array_equal(values, LexicalDiversity().transform(pool, None))


@dataclass(frozen=True)
class Elsewhere(LexicalDiversity):
    """An indicator of a module that a worker cannot find."""


def test_what_a_worker_cannot_compute_is_computed_here(monkeypatch):
    module = types.ModuleType("made_up_here")
    module.Elsewhere = Elsewhere
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Elsewhere, "__module__", module.__name__)
    pool = examples(10)
    with Crew(1) as crew:
        crew.wait()
        (values,) = crew.submit([Elsewhere()], pool).values()
    np.testing.assert_array_equal(values, LexicalDiversity().transform(pool, None))


def test_workers_end_with_the_crew():
    with Crew(2) as crew:
        processes = [worker._process for worker in crew._workers]
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.poll() is not None for process in processes)


def test_number_of_workers_follows_cores_and_rows(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert worker_count(WORTHWHILE) == 2
    assert worker_count(WORTHWHILE - 1) == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert worker_count(WORTHWHILE) == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert worker_count(10**6) == 4


def test_the_store_is_the_same_whatever_the_number_of_workers(tmp_path, monkeypatch):
    pool = examples(90)
    monkeypatch.setattr(fill, "_CHUNK", 20)
    contents, tables = [], []
    for n in (0, 2):
        monkeypatch.setattr(labour, "worker_count", lambda _, n=n: n)
        engine = Engine(Store(tmp_path / str(n)), CountingModels())
        tables.append(engine.score(pool, indicators_for(["len", "mtld"])).frame)
        shards = (tmp_path / str(n)).rglob("*.parquet")
        contents.append({path.parts[-2:]: path.read_bytes() for path in shards})
    assert tables[0].equals(tables[1])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 10
