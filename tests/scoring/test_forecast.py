import pytest

from instructmining.examples import Example, Turn
from instructmining.indicators.base import indicators_for
from instructmining.models.sizes import size_of
from instructmining.scoring.forecast import forecast
from instructmining.scoring.passes import Models
from instructmining.scoring.rows import Listed
from models.tiny import save_causal_lm, save_encoder

POOL = Listed(
    [
        Example(0, (Turn("user", "a" * 400),), "b" * 800),
        Example(1, (Turn("user", "é" * 200),), "c" * 8_000),
        Example(2, (Turn("user", "no answer" * 100),), ""),
    ]
)


@pytest.fixture
def models(tmp_path):
    return Models(str(save_causal_lm(tmp_path / "lm")), str(save_encoder(tmp_path / "encoder")))


def test_every_pass_is_named_with_its_columns_and_model(models):
    found = forecast(POOL, indicators_for(["nll", "ifd", "mtld", "len", "knn_6"]), models)

    assert found.n_rows == 2
    passes = {one.columns: one for one in found.passes}
    assert list(passes) == [
        ("mtld",),
        ("len_in", "len_out", "len"),
        ("knn_6",),
        ("nll", "ppl", "ifd"),
    ]
    assert [one.model for one in found.passes] == [None, None, models.encoder, models.lm]
    assert passes[("nll", "ppl", "ifd")].size == size_of(models.lm)


def test_a_response_run_a_second_time_is_counted_twice(models):
    (once,) = forecast(POOL, indicators_for(["nll"]), models).passes
    (twice,) = forecast(POOL, indicators_for(["ifd"]), models).passes

    assert once.tokens == (400 + 400 + 800 + 8_000) // 4
    assert twice.tokens == once.tokens + (800 + 8_000) // 4


def test_an_encoder_reads_no_further_than_its_limit(models):
    (one,) = forecast(POOL, indicators_for(["knn_6"]), models).passes

    assert one.tokens == 256 + 256


def test_time_and_memory_follow_from_size_and_speed(models):
    found = forecast(POOL, indicators_for(["nll"]), models)
    (one,) = found.passes
    size = size_of(models.lm)
    work = 2 * (size.active * one.tokens + size.head * (800 + 8_000) / 4)

    assert found.rate > 1e8
    assert one.seconds == pytest.approx(work / found.rate / 0.6)
    assert found.seconds == one.seconds
    assert one.memory > 4 * size.parameters


def test_a_model_of_unknown_size_has_no_estimate(models):
    models.lm = "nobody/nothing"
    found = forecast(POOL, indicators_for(["nll", "mtld"]), models)

    assert found.passes[-1].seconds is None
    assert found.passes[-1].memory is None
    assert found.seconds is None
