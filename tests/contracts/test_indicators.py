"""What every indicator of the registry must keep to; a new one is covered by being there."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest

from instructmining.examples import Example, Turn
from instructmining.indicators.base import Indicator, PoolIndicator, Reference, registered
from instructmining.models.base import (
    CausalOutput,
    EncoderOutput,
    EvaluatorOutput,
    RewardOutput,
    TokenOutput,
)
from instructmining.models.heads import load_heads

INDICATORS = registered()
EXAMPLES = [
    Example(0, (Turn("user", "Name a colour."),), "Blue, or red, or blue again."),
    Example(1, (), "No prompt here."),
    Example(2, (Turn("user", "水は?"),), "水は百度で沸騰します。"),
    Example(
        3,
        (
            Turn("system", "Be kind."),
            Turn("user", ""),
        ),
        "?!",
    ),
    Example(4, (Turn("user", "\ud800"),), "\udfff"),
    Example(5, (Turn("user", "x"),), ""),
    Example(6, (Turn("user", "नमस्ते"),), "yes " * 40),
    Example(
        7, (Turn("user", "👩‍👩‍👧"), Turn("assistant", "a"), Turn("user", "b")), "\x00 <|im_end|>"
    ),
    Example(8, (Turn("user", "long"),), "word " * 3_000),
]
HEADS = load_heads().heads
#: Layers the packaged heads read, and how wide their states are.
LAYERS = sorted({layer for head in HEADS.values() for layer in head.layers})
WIDTH = HEADS["rew"].weight.shape[1]
SPLITS = [[0, 1, 2, 3, 4], [5], [6, 7, 8]]


def random_for(example):
    return np.random.default_rng(int(example.digest[:8], 16))


def tokens(examples):
    return TokenOutput(
        np.asarray([len(e.prompt) for e in examples], dtype=np.int64),
        np.asarray([len(e.response) for e in examples], dtype=np.int64),
    )


def likelihoods(examples):
    """Losses of a pass that could not score every row."""
    drawn = np.asarray([random_for(e).uniform(0.1, 6, 2) for e in examples]).reshape(-1, 2)
    undefined = [not e.response for e in examples]
    drawn[undefined] = np.nan
    states = {}
    for layer in LAYERS:
        means = [random_for(e).standard_normal(WIDTH) for e in examples]
        states[layer] = np.asarray(means, dtype=np.float32).reshape(-1, WIDTH)
        states[layer][undefined] = np.nan
    return CausalOutput(drawn[:, 0], drawn[:, 1], states)


def embeddings(examples):
    rows = np.asarray([random_for(e).standard_normal(12) for e in examples]).reshape(-1, 12)
    return EncoderOutput((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def rewards(examples):
    return RewardOutput(logits(examples, 1)[:, 0])


def answers(examples):
    return EvaluatorOutput(logits(examples, 3))


def logits(examples, n):
    drawn = np.asarray([random_for(e).normal(size=n) for e in examples]).reshape(-1, n)
    drawn[[not e.response for e in examples]] = np.nan
    return drawn


#: What each kind of pass gives, as a function of the examples alone.
OUTPUTS = {
    "tokens": tokens,
    "causal": likelihoods,
    "encoder": embeddings,
    "reward": rewards,
    "evaluator": answers,
}


def read(indicator, examples, pool=EXAMPLES):
    """Values of an indicator, however it is called."""
    output = OUTPUTS[indicator.needs.kind](examples) if indicator.needs else None
    if not isinstance(indicator, PoolIndicator):
        return indicator.transform(examples, output)
    reference = Reference([e.digest for e in pool], embeddings(pool).embedding, "pool")
    return indicator.transform_pool([e.digest for e in examples], output.embedding, reference)


def changed(value, name):
    """Another valid value of a parameter."""
    if name in OTHER_VALUES:
        return OTHER_VALUES[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.9
    raise NotImplementedError(f"add a change for parameters of {type(value)}")


#: Of parameters that are names.
OTHER_VALUES = {"column": next(name for name in HEADS if name != "rew")}
#: Parameters that say where something lies; what lies there is in the definition.
PLACES = {"file"}


@pytest.fixture(params=INDICATORS, ids=str)
def indicator(request):
    return INDICATORS[request.param]()


def test_values_are_float64_one_row_per_example_one_column_each(indicator):
    values = read(indicator, EXAMPLES)

    assert values.dtype == np.float64
    assert values.shape == (len(EXAMPLES), len(indicator.columns))
    assert not np.isinf(values).any()
    assert np.isfinite(values[0]).all()


def test_no_examples_give_no_rows(indicator):
    assert read(indicator, []).shape == (0, len(indicator.columns))


def test_values_are_the_same_every_time(indicator):
    np.testing.assert_array_equal(read(indicator, EXAMPLES), read(indicator, EXAMPLES))


def test_order_of_examples_changes_nothing(indicator):
    order = np.random.default_rng(0).permutation(len(EXAMPLES))

    values = read(indicator, [EXAMPLES[i] for i in order])

    np.testing.assert_allclose(values, read(indicator, EXAMPLES)[order], rtol=0, atol=1e-12)


def test_splitting_a_batch_changes_nothing(indicator):
    # A pool-dependent indicator must keep to this too as long as its reference stays.
    parts = [read(indicator, [EXAMPLES[i] for i in part]) for part in SPLITS]

    np.testing.assert_allclose(np.vstack(parts), read(indicator, EXAMPLES), rtol=0, atol=1e-12)


def test_values_depend_on_other_rows_only_where_that_is_declared(indicator):
    in_company = read(indicator, EXAMPLES)[:4]
    among_few = read(indicator, EXAMPLES[:4], pool=EXAMPLES[:4])

    same = np.allclose(in_company, among_few, equal_nan=True)
    assert same is not indicator.pool_dependent
    assert isinstance(indicator, PoolIndicator) is indicator.pool_dependent


def test_a_pickled_indicator_is_the_same_indicator(indicator):
    restored = pickle.loads(pickle.dumps(indicator))

    assert restored == indicator
    assert hash(restored) == hash(indicator)
    np.testing.assert_array_equal(read(restored, EXAMPLES), read(indicator, EXAMPLES))


def test_inputs_stay_as_they_were(indicator):
    examples = list(EXAMPLES)
    output = OUTPUTS[indicator.needs.kind](examples) if indicator.needs else None
    before = copy.deepcopy(output)
    if isinstance(indicator, PoolIndicator):
        keys = [e.digest for e in examples]
        reference = Reference(list(keys), output.embedding, "pool")
        indicator.transform_pool(keys, output.embedding, reference)
        assert keys == list(reference.texts) == [e.digest for e in EXAMPLES]
    else:
        indicator.transform(examples, output)

    assert examples == EXAMPLES
    if output is not None:
        for name, given in vars(before).items():
            arrays = given.items() if isinstance(given, dict) else [(None, given)]
            for key, array in arrays:
                now = getattr(output, name)
                np.testing.assert_array_equal(now if key is None else now[key], array)


def test_definitions_survive_json(indicator):
    definition = indicator.definition({"model": "m", "template": "t"})

    assert json.loads(json.dumps(definition)) == definition
    assert definition["indicator"] == indicator.name
    assert definition["version"] == indicator.version
    assert definition["model"] == "m"


def test_every_parameter_and_the_pass_are_part_of_the_definition(indicator):
    of_pass = {"model": "m"}
    definition = indicator.definition(of_pass)

    for field in dataclasses.fields(indicator):
        if field.name in PLACES:
            continue
        value = changed(getattr(indicator, field.name), field.name)
        other = dataclasses.replace(indicator, **{field.name: value})
        assert other.definition(of_pass) != definition, field.name
        assert other != indicator
    if indicator.needs:
        assert indicator.definition({"model": "other"}) != definition


def test_parameters_cannot_be_changed_afterwards(indicator):
    # Only tells of indicators that have parameters.
    for field in dataclasses.fields(indicator):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(indicator, field.name, getattr(indicator, field.name))
    assert dataclasses.is_dataclass(indicator)


def test_columns_say_what_they_hold(indicator):
    assert indicator.columns
    for column in indicator.columns:
        assert column.name.isidentifier()
        assert column.symbol
        assert column.unit
    assert type(indicator).__doc__
    assert "Columns:" in type(indicator).__doc__
    assert "Reference:" in type(indicator).__doc__


def test_no_two_indicators_fill_a_column_of_the_same_name():
    every = [one for cls in INDICATORS.values() for one in cls.family()]
    names = [column.name for one in every if not one.stands_in for column in one.columns]
    others = [column.name for one in every if one.stands_in for column in one.columns]

    assert len(names) >= 8
    assert len(set(names)) == len(names)
    assert len(set(others)) == len(others)
    assert set(others) <= set(names)


def test_names_are_those_of_the_registry():
    for name, cls in INDICATORS.items():
        assert issubclass(cls, Indicator)
        assert cls.name == name


def check(indicator: Indicator) -> None:
    """Hold an indicator that is not in the registry to every test of this file that takes one."""
    tests = [
        test
        for name, test in globals().items()
        if name.startswith("test_")
        and test.__code__.co_varnames[: test.__code__.co_argcount] == ("indicator",)
    ]
    assert len(tests) > 8
    for test in tests:
        test(indicator)
