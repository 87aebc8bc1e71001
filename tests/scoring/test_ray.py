"""Two workers of a Ray cluster fill the store as one process does; a death costs one batch."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from instructmining.cli.main import app
from instructmining.errors import InputError, ModelError
from instructmining.indicators.knn import NeighbourDistance
from instructmining.indicators.likelihood import Likelihood
from instructmining.indicators.mtld import LexicalDiversity
from instructmining.scoring.engine import Engine
from instructmining.scoring.ray import RayLabour
from instructmining.scoring.store import Store
from instructmining.scoring.table import ScoreTable
from models.tiny import save_causal_lm, save_encoder
from scoring.counting import CountingModels
from scoring.mortal import MortalModels
from scoring.pools import examples
from texts import write_pool

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def models(tmp_path):
    def make(**settings) -> MortalModels:
        folder = tmp_path / f"models-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return MortalModels(folder, **settings)

    return make


POOL = examples(40)


def engine(folder, models) -> Engine:
    return Engine(Store(folder), models, labour=RayLabour(2))


def test_two_workers_give_the_shards_of_one_process(tmp_path, models):
    wanted = [Likelihood(), NeighbourDistance(3), LexicalDiversity()]
    here = Engine(Store(tmp_path / "here"), CountingModels()).score(POOL, wanted)
    away = models()
    there = engine(tmp_path / "there", away).score(POOL, wanted)

    assert there.frame.equals(here.frame)
    assert there.definitions == here.definitions
    names = [
        sorted(str(p.relative_to(tmp_path / one)) for p in (tmp_path / one).rglob("*.parquet"))
        for one in ("here", "there")
    ]
    assert names[0] == names[1]
    assert len(names[0]) > 10
    assert len({*away.ran()}) == len(away.ran()) > 10


def test_what_is_stored_is_not_computed_again(tmp_path, models):
    away = models()
    for pool in (POOL[:30], POOL):
        engine(tmp_path / "store", away).score(pool, [Likelihood()])
    assert sum(len(batch.split(",")) - 1 for batch in away.ran()) == 40


def test_a_worker_that_dies_costs_its_batch(tmp_path, models):
    away = models(fatal=7, deaths=2)
    table = engine(tmp_path / "store", away).score(POOL, [Likelihood()])

    here = Engine(Store(tmp_path / "here"), CountingModels()).score(POOL, [Likelihood()])
    assert table.frame.equals(here.frame)
    times = {batch: away.ran().count(batch) for batch in away.ran()}
    (fatal,) = [batch for batch in times if POOL[7].digest in batch]
    assert times.pop(fatal) == 3
    # Of the others only what the dead worker had beside it, or had done without being heard.
    assert max(times.values()) <= 2
    assert sum(n > 1 for n in times.values()) <= 3


def test_a_batch_that_kills_every_worker_is_named(tmp_path, models):
    away = models(fatal=7, deaths=99)
    with pytest.raises(ModelError, match=r"^a batch of \d+ rows, such as row \d+: killed 3"):
        engine(tmp_path / "store", away).score(POOL, [Likelihood()])

    first = away.ran()
    away.deaths = 0
    engine(tmp_path / "store", away).score(POOL, [Likelihood()])
    again = away.ran()[len(first) :]
    assert any(POOL[7].digest in batch for batch in again)
    # What its neighbours had under way when the run was given up is all that may come twice.
    assert len({*again} & {*first}) <= 5


def test_what_a_model_says_comes_through(tmp_path, models):
    with pytest.raises(ModelError, match=r"^this model does not run$"):
        engine(tmp_path / "store", models(refuses=True)).score(POOL, [Likelihood()])


def test_workers_that_would_compute_otherwise_are_refused(tmp_path, models):
    away = models(dtypes=("float32", "float32", "bfloat16"))
    with pytest.raises(ModelError, match=r"bfloat16.*float32.*nodes of one kind"):
        engine(tmp_path / "store", away).score(POOL, [Likelihood()])


def test_more_workers_than_cores_are_refused(tmp_path, models):
    with pytest.raises(InputError, match="--workers 3: the cluster has 2 cores"):
        Engine(Store(tmp_path), models(), labour=RayLabour(3)).score(POOL, [Likelihood()])


def test_the_command_line_scores_on_a_cluster(tmp_path):
    pool = write_pool(tmp_path / "pool.jsonl", 30, letters="abcdefg", seed=3)
    lm, encoder = save_causal_lm(tmp_path / "lm"), save_encoder(tmp_path / "encoder")
    tables = []
    for name, options in (("here", []), ("there", ["--engine", "ray", "--workers", "2"])):
        arguments = [
            *("score", pool, "-o", str(tmp_path / name), "--store", str(tmp_path / f"s-{name}")),
            *("--indicators", "len_out,mtld,nll,ifd,knn_3"),
            *("--lm", str(lm), "--encoder", str(encoder), *options),
        ]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        tables.append(ScoreTable.load(tmp_path / name))
    here, there = tables
    assert there.definitions == here.definitions
    for column in here.columns:
        # Other numbers of threads add up in another order.
        assert there.frame[column].to_list() == pytest.approx(here.frame[column].to_list(), 1e-4)


def test_workers_without_a_cluster_are_refused(tmp_path):
    pool = write_pool(tmp_path / "pool.jsonl", 5, letters="abcdefg", seed=3)
    done = CliRunner().invoke(app, ["score", pool, "-o", str(tmp_path / "out"), "--workers", "2"])
    assert isinstance(done.exception, InputError)
    assert "the local engine has none" in str(done.exception)


@dataclass(frozen=True)
class Failing(LexicalDiversity):
    """An indicator of another package, at fault."""

    def transform(self, examples, output):
        raise ZeroDivisionError("no such luck")


def test_what_an_indicator_of_another_package_fails_at_is_one_line_here_too(tmp_path, models):
    with pytest.raises(
        InputError, match=r"Failing: fails \(ZeroDivisionError: no such luck\)"
    ) as told:
        engine(tmp_path / "store", models()).score(POOL, [Failing()])
    assert "\n" not in str(told.value)
