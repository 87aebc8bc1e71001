"""The store in an object store, which is out of service now and then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from instructmining.indicators.knn import NeighbourDistance
from instructmining.indicators.likelihood import Likelihood
from instructmining.indicators.mtld import LexicalDiversity
from instructmining.scoring.engine import Engine
from instructmining.scoring.ray import RayLabour
from instructmining.scoring.store import Store
from instructmining.scoring.table import ScoreTable
from models.tiny import save_causal_lm
from objects import s3_server
from scoring.counting import CountingModels
from scoring.mortal import MortalModels
from scoring.pools import examples
from texts import write_pool

pytest.importorskip("moto", reason="moto is not installed")

POOL = examples(40)
WANTED = [Likelihood(), NeighbourDistance(3), LexicalDiversity()]


@pytest.fixture
def server():
    with s3_server() as running:
        yield running


@pytest.fixture
def expected(tmp_path):
    return Engine(Store(tmp_path / "disk"), CountingModels()).score(POOL, WANTED).frame


def test_shards_and_scores_are_those_of_a_disk(server, tmp_path, expected):
    store = Store(server.folder("scores"))
    assert Engine(store, CountingModels()).score(POOL, WANTED).frame.equals(expected)

    shelves = {path.name for path in (tmp_path / "disk").iterdir()}
    assert len(shelves) == 3
    for shelf in shelves:
        on_disk = sorted(path.name for path in (tmp_path / "disk" / shelf).glob("*.parquet"))
        assert store.folder.below(shelf).names(".parquet") == on_disk


def test_nothing_stored_is_computed_again(server, expected):
    for n in (30, 40):
        models = CountingModels()
        engine = Engine(Store(server.folder("scores")), models)
        table = engine.score(POOL[:n], WANTED)
    assert len(models.rows("causal")) == 10
    assert table.frame["nll"].equals(expected["nll"])


def test_refused_requests_change_nothing(server, expected):
    server.faults.every = 5
    store = Store(server.folder("scores"))
    assert Engine(store, CountingModels()).score(POOL, WANTED).frame.equals(expected)
    models = CountingModels()
    assert Engine(store, models).score(POOL, WANTED).frame.equals(expected)
    assert models.built["causal"].ran == []
    assert server.faults.refused > 10


@pytest.mark.usefixtures("ray_cluster")
def test_workers_of_a_cluster_write_there_and_may_die(server, tmp_path, expected):
    server.faults.every = 7
    models = MortalModels(tmp_path, fatal=7, deaths=1)
    engine = Engine(Store(server.folder("scores")), models, labour=RayLabour(2))
    assert engine.score(POOL, WANTED).frame.equals(expected)
    assert server.faults.refused > 5


def test_a_killed_command_goes_on(server, tmp_path):
    pool = write_pool(tmp_path / "pool.jsonl", 30, letters="abcdefg", seed=3)
    lm = save_causal_lm(tmp_path / "lm")
    script = Path(__file__).with_name("killed.py")

    def command(moment: str, store: str, output: str) -> list[str]:
        return [
            *(sys.executable, str(script), moment, "3", "400", "score", pool, "--lm", str(lm)),
            *("--indicators", "len_out,mtld,nll", "-o", str(tmp_path / output), "--store", store),
        ]

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command("stored", server.folder("s"), "none"),
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as killed:
        assert killed.stderr is not None
        assert any(line == "now\n" for line in killed.stderr), "it ended before it was killed"
        killed.kill()
    assert not (tmp_path / "none").exists()
    stored = sum(len(_shards(server, shelf)) for shelf in _shelves(server))
    assert stored >= 3

    tables = []
    for store, output in ((server.folder("s"), "resumed"), (str(tmp_path / "disk"), "undisturbed")):
        # A moment that never comes: it runs to the end.
        words = command("model", store, output)
        words[3] = "999"
        subprocess.run(words, check=True, env=environment, capture_output=True)
        tables.append(ScoreTable.load(tmp_path / output).frame)
    assert tables[0].equals(tables[1])


def _shelves(server) -> list[str]:
    from pyarrow.fs import FileSelector

    folder = Store(server.folder("s")).folder
    found = folder._files.get_file_info(FileSelector(folder._prefix))
    return [info.base_name for info in found]


def _shards(server, shelf: str) -> list[str]:
    return Store(server.folder("s")).folder.below(shelf).names(".parquet")
