"""The engine: a table without holes, and no work done twice."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from instructmining.errors import StoreError
from instructmining.examples import Example
from instructmining.indicators.base import indicators_for
from instructmining.indicators.knn import kth_neighbour_distance
from instructmining.scoring.engine import Engine
from instructmining.scoring.reference import ReferenceSpec, text_key
from instructmining.scoring.rows import Listed
from instructmining.scoring.store import Store
from instructmining.shard import Shard
from scoring.counting import CountingModels, draw
from scoring.pools import example, examples, renumbered, rows_of
from scoring.word_model import save_word_model

ALL = ("len_in", "len_out", "len", "mtld", "nll", "ppl", "ifd", "knn_6")


@pytest.fixture
def score(tmp_path):
    """Score with fresh passes; the models used come back beside the table."""

    def run(pool, columns=ALL, *, store="store", reference=None, progress=None, **settings):
        models = CountingModels(settings)
        engine = Engine(Store(tmp_path / store), models)
        if progress is not None:
            engine.progress = progress
        table = engine.score(pool, indicators_for(columns), columns=columns, reference=reference)
        return table, models

    return run


def test_rows_come_in_input_order_and_none_is_missing(score):
    pool = renumbered(random.Random(0).sample(examples(50), 50))
    table, _ = score(pool)
    frame = table.frame
    assert frame.columns == ["row", "example", *ALL, "flags"]
    assert frame["row"].to_list() == list(range(50))
    assert frame["example"].to_list() == [e.digest for e in pool]
    assert frame["len_out"].to_list() == [len(e.response) for e in pool]
    np.testing.assert_array_equal(frame["nll"], [1 + draw(e.digest, 1)[0] for e in pool])
    np.testing.assert_array_equal(frame["ppl"], np.exp(frame["nll"].to_numpy()))
    assert frame["flags"].dtype == pl.List(pl.String)
    assert set(table.definitions) == set(ALL)


def test_columns_come_in_the_order_asked_for(score):
    table, models = score(examples(3), ("ppl", "len"))
    assert table.columns == ("ppl", "len")
    assert set(models.built) == {"tokens", "causal"}


def test_unscorable_rows_are_null_and_say_why(score):
    pool = [
        example(0, "a", ""),
        example(1, "b", "the cat"),
        example(2, "c", " \n"),
        Example(3, (), "", "file", ("malformed_record",)),
        example(4, "d", "the dog", flags=("undecodable_text",)),
    ]
    frame = score(pool, ("len_out", "nll"))[0].frame
    assert frame["nll"].is_null().to_list() == [True, False, True, True, False]
    assert frame["len_out"].to_list() == [None, 7, None, None, 7]
    assert frame["flags"].to_list() == [
        ["empty_response"], [], ["empty_response"], ["malformed_record"], ["undecodable_text"],
    ]  # fmt: skip


def test_undefined_is_null_never_nan_or_zero(score):
    pool = [example(0, "a", "refused by the template"), example(1, "b", "the cat")]
    frame = score(pool)[0].frame
    assert frame["nll"].to_list()[0] is None
    assert frame["ppl"].to_list()[0] is None
    # Two rows have no sixth neighbour.
    assert frame["knn_6"].to_list() == [None, None]
    assert "template_refused" in frame["flags"][0]
    assert not any(frame[name].is_nan().any() for name in ALL)


def test_nothing_to_score_at_all(score):
    frame = score([example(0, "a", ""), example(1, "b", "")])[0].frame
    assert frame.height == 2
    assert all(frame[name].null_count() == 2 for name in ALL)


def test_duplicates_are_scored_once_and_flagged_from_the_second_on(score):
    pool = renumbered([*examples(3), examples(3)[1], example(0, "", ""), examples(3)[1]])
    table, models = score(pool, ("nll",))
    assert sorted(models.rows("causal")) == sorted({e.digest for e in pool[:3]})
    flags = table.frame["flags"].to_list()
    assert flags == [[], [], [], ["duplicate"], ["empty_response"], ["duplicate"]]
    assert table.frame["nll"][1] == table.frame["nll"][3] == table.frame["nll"][5]


def test_each_pass_runs_once_whatever_is_read_from_it(score):
    pool = examples(40)
    _, models = score(pool, (*ALL, "knn_2"))
    for kind in ("tokens", "causal", "encoder"):
        assert sorted(models.rows(kind)) == sorted(e.digest for e in pool), kind
    assert len(models.built["causal"].ran) > 1
    assert models.built["causal"].options == {"alone"}


def test_what_was_not_asked_for_is_not_run(score):
    _, models = score(examples(3), ("mtld",))
    assert models.built == {}
    _, models = score(examples(3), ("nll",))
    assert models.built["causal"].options == frozenset()


def test_second_run_recomputes_nothing_and_says_the_same(score):
    pool = [*examples(20), example(20, "x", "cut at the front"), example(21, "y", "refused it")]
    first, _ = score(pool)
    second, models = score(pool)
    assert all(not of_kind.ran for of_kind in models.built.values())
    assert second.frame.equals(first.frame, null_equal=True)
    assert second.definitions == first.definitions
    # Flags of a pass come from the store as well.
    assert "truncated_prompt" in second.frame["flags"][20]
    assert "template_refused" in second.frame["flags"][21]


def test_added_rows_cost_only_themselves(score):
    pool = examples(30)
    before, _ = score(pool, ("nll", "knn_6"), reference=ReferenceSpec("file", Listed(pool)))
    more = renumbered([*examples(5, seed=1), *pool])
    after, models = score(more, ("nll", "knn_6"), reference=ReferenceSpec("file", Listed(pool)))
    new = sorted(e.digest for e in more[:5])
    assert sorted(models.rows("causal")) == new
    assert sorted(models.rows("encoder")) == new
    assert after.frame[5:].drop("row").equals(before.frame.drop("row"))


def test_added_column_costs_only_its_pass(score):
    pool = examples(10)
    score(pool, ("nll", "len"))
    _, models = score(pool, ("nll", "len", "knn_6"))
    assert not models.built["causal"].ran
    assert sorted(models.rows("encoder")) == sorted(e.digest for e in pool)


def test_another_column_of_a_pass_leaves_the_stored_one_alone(score):
    pool = examples(10)
    first, _ = score(pool, ("nll",))
    second, models = score(pool, ("nll", "ifd"))
    assert sorted(models.rows("causal")) == sorted(e.digest for e in pool)
    assert second.frame["nll"].equals(first.frame["nll"])
    assert second.frame["ifd"].null_count() == 0


@pytest.mark.parametrize("change", [{"model": "other"}, {"dtype": "bfloat16"}])
def test_other_models_and_number_formats_do_not_mix(score, change):
    pool = examples(5)
    first, _ = score(pool, ("nll",))
    second, models = score(pool, ("nll",), **change)
    assert len(models.rows("causal")) == 5
    # The number format is recorded, and a rule never compares it.
    same = first.definitions == second.definitions
    assert same == ("dtype" in change)
    assert second.recorded["causal"]["dtype"] == change.get("dtype", "float32")


def test_batches_are_a_pure_function_of_the_pool(score):
    pool = examples(60)
    _, whole = score(pool, ("nll",), store="whole")
    assert len(whole.built["causal"].ran) > 5
    # Every third row is there already: the others run in the same batches, less those.
    score(pool[::3], ("nll",), store="part")
    _, rest = score(pool, ("nll",), store="part")
    known = {e.digest for e in pool[::3]}
    left = [[d for d in batch if d not in known] for batch in whole.built["causal"].ran]
    assert rest.built["causal"].ran == [batch for batch in left if batch]
    _, again = score(pool, ("nll",), store="again")
    assert again.built["causal"].ran == whole.built["causal"].ran


def test_interrupted_run_loses_at_most_the_batch_it_was_in(score, tmp_path):
    pool = examples(60)
    whole, reference = score(pool, ("nll", "ppl", "ifd"), store="whole")

    class Stop(BaseException):
        pass

    class Interrupting:
        def __init__(self):
            self.left = 3

        def start(self, stage, total, reused):
            self.said = (stage, total, reused)

        def advance(self, rows):
            self.left -= 1
            if self.left == 0:
                raise Stop

    with pytest.raises(Stop):
        score(pool, ("nll", "ppl", "ifd"), progress=Interrupting())
    table, models = score(pool, ("nll", "ppl", "ifd"))
    assert models.built["causal"].ran == reference.built["causal"].ran[3:]
    assert table.frame.equals(whole.frame, null_equal=True)


def test_batch_stored_for_one_column_only_is_run_again(score, tmp_path):
    # A run killed between the two shards of one batch: both columns end up whole.
    pool = examples(20)
    whole, _ = score(pool, ("nll", "ifd"), store="whole")
    score(pool, ("nll", "ifd"))
    (shelf,) = (tmp_path / "store").glob("ifd-*")
    lost = sorted(shelf.glob("*.parquet"))[0]
    lost.unlink()
    table, models = score(pool, ("nll", "ifd"))
    assert len(models.built["causal"].ran) == 1
    assert table.frame.equals(whole.frame)


def test_damaged_shard_stops_the_run_and_its_removal_mends_it(score, tmp_path):
    pool = examples(20)
    whole, _ = score(pool, ("nll",))
    path = next((tmp_path / "store").glob("nll-*/*.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=path.name):
        score(pool, ("nll",))
    path.unlink()
    table, models = score(pool, ("nll",))
    assert len(models.built["causal"].ran) == 1
    assert table.frame.equals(whole.frame)


def test_progress_adds_up(score):
    class Notes:
        def __init__(self):
            self.stages = []

        def start(self, stage, total, reused):
            self.stages.append([stage, total, reused, 0])

        def advance(self, rows):
            self.stages[-1][3] += rows

    score(examples(12), ("nll",))
    notes = Notes()
    score(examples(30), ("nll", "len_out"), progress=notes)
    # Cheap passes first; what is reused and what is done make the total.
    shared = len({e.digest for e in examples(30)} & {e.digest for e in examples(12)})
    (tokens, causal) = notes.stages
    assert tokens[1:] == [30, 0, 30]
    assert causal[1:] == [30, shared, 30 - shared]


def test_neighbours_come_from_the_sample_and_never_from_the_own_text(score):
    pool = renumbered([*examples(40), examples(40)[0]])
    spec = ReferenceSpec(size=15)
    table, _ = score(pool, ("knn_3",), reference=spec)
    chosen = [pool[row] for row in rows_of(spec, pool)]
    unit = {e.digest: draw(e.digest, 8) / np.linalg.norm(draw(e.digest, 8)) for e in pool}
    for e, value in zip(pool, table.frame["knn_3"], strict=True):
        others = [other for other in chosen if text_key(other) != text_key(e)]
        distances = sorted(np.linalg.norm(unit[e.digest] - unit[o.digest]) for o in others)
        assert value == pytest.approx(distances[2], abs=1e-6)
    assert table.definitions["knn_3"]["reference"] == "sample"
    assert table.recorded["reference"]["rows"] == 15


def test_reference_kind_is_part_of_the_definition(score):
    pool, other = examples(10), examples(10, seed=1)
    kinds = {
        "sample": None,
        "pool": ReferenceSpec("pool"),
        "file": ReferenceSpec("file", Listed(other)),
    }
    values = {}
    for kind, spec in kinds.items():
        table, _ = score(pool, ("knn_6",), reference=spec)
        assert table.definitions["knn_6"]["reference"] == kind
        values[kind] = table.frame["knn_6"].to_list()
    assert values["sample"] == values["pool"] != values["file"]
    apart = [kth_neighbour_distance(*_vectors([e]), *_vectors(other), 6)[0] for e in pool]
    np.testing.assert_allclose(values["file"], apart, atol=1e-6)


def _vectors(pool):
    drawn = np.stack([draw(e.digest, 8) for e in pool])
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit.astype(np.float32), [text_key(e) for e in pool]


def test_two_engines_at_once_agree(score):
    from threading import Thread

    pool, tables = examples(60), []
    threads = [Thread(target=lambda: tables.append(score(pool)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tables) == 3
    assert all(table.frame.equals(tables[0].frame, null_equal=True) for table in tables)
    _, models = score(pool)
    assert not any(of_kind.ran for of_kind in models.built.values())


def test_lengths_and_diversity_load_no_torch(tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text(json.dumps({"instruction": "Say hi.", "output": "hi there"}) + "\n")
    model = save_word_model(tmp_path / "model")
    code = (
        "import sys\n"
        "from instructmining import Scoring, score\n"
        "how = Scoring(lm=sys.argv[2], store=sys.argv[3])\n"
        "table = score(sys.argv[1], ['len_out', 'mtld'], scoring=how)\n"
        "assert table.frame['len_out'].to_list() == [2.0], table.frame\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'sklearn', 'statsmodels',\n"
        "         'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(pool), str(model), str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )


# Several processes, one store


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_fill_one_store_and_the_table_is_the_undisturbed_one(tmp_path, score, order):
    pool = examples(50)
    indicators = indicators_for(ALL)
    left, ran = [], []
    for index in order:
        models = CountingModels()
        engine = Engine(Store(tmp_path / "shared"), models, shard=Shard(index, 3))
        left.append(engine.fill(pool, indicators))
        ran.append(sum(len(batch) for one in models.built.values() for batch in one.ran))
    assert left[0] > left[1] > left[2] == 0
    # Chunks of 4,096 rows: lengths of so few are one shard's; of batches each has a share.
    assert all(ran)
    merged, models = score(pool, store="shared")
    assert sum(len(one.ran) for one in models.built.values()) == 0
    whole, models = score(pool, store="alone")
    assert merged.frame.equals(whole.frame)
    # Nothing was computed twice.
    assert sum(ran) == sum(len(batch) for one in models.built.values() for batch in one.ran)


def test_a_shard_started_again_computes_nothing(tmp_path):
    pool, indicators = examples(30), indicators_for(("nll", "ppl"))
    for again in (False, True):
        models = CountingModels()
        engine = Engine(Store(tmp_path / "store"), models, shard=Shard(1, 2))
        assert engine.fill(pool, indicators) > 0
        assert (sum(len(one.ran) for one in models.built.values()) == 0) is again
