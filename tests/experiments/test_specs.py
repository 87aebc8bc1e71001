from __future__ import annotations

import pytest

from instructmining.errors import ExperimentError
from instructmining.experiments.specs import (
    SELECTORS,
    MethodSpec,
    MixtureSpec,
    parse_evaluation,
    parse_methods,
    parse_mixture,
    parse_source,
    random_specs,
)

SOURCES = ("alpaca_data", "dolly_3k", "lima", "odd:name")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("m=lima", MixtureSpec("m", "shares", ("lima",), (1.0,))),
        (
            "m=dolly_3k:0.5,lima:1.5",
            MixtureSpec("m", "shares", ("dolly_3k", "lima"), (0.5, 1.5)),
        ),
        ("m=odd:name,lima", MixtureSpec("m", "shares", ("odd:name", "lima"), (1.0, 1.0))),
        ("m=odd:name:2", MixtureSpec("m", "shares", ("odd:name",), (2.0,))),
        ("m=longest@lima", MixtureSpec("m", "longest", ("lima",), sample=3000)),
        ("m=shortest:40@*", MixtureSpec("m", "shortest", SOURCES, sample=40)),
        ("m=random@lima,dolly_3k", MixtureSpec("m", "random", ("lima", "dolly_3k"))),
    ],
)
def test_mixtures_are_read_and_written_back(text, spec):
    assert parse_mixture(text, SOURCES) == spec
    assert parse_mixture(f"m={spec}", SOURCES) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lima", "wanted NAME=SOURCE:SHARE"),
        ("=lima", "wanted NAME="),
        ("m=", "wanted NAME="),
        ("a/b=lima", "wanted NAME="),
        ("m=limas", "source 'limas' is not known; did you mean 'lima'"),
        ("m=longest@doly_3k", "did you mean 'dolly_3k'"),
        ("m=zzz", "there are alpaca_data, dolly_3k"),
        ("m=longst@lima", "strategy 'longst' is not known; did you mean 'longest'"),
        ("m=lima:0", "share '0' of lima; wanted a number above 0"),
        ("m=lima:-1", "above 0"),
        ("m=lima:inf", "above 0"),
        ("m=lima:nan", "above 0"),
        ("m=lima:half", "share 'half'"),
        ("m=lima:1,dolly_3k", "give all or none"),
        ("m=lima,lima", "named twice"),
        ("m=longest:0@lima", "longest:500"),
        ("m=random:5@lima", "longest:500"),
        ("m=shares@lima", "strategy 'shares' is not known"),
    ],
)
def test_bad_mixtures_get_one_clear_line(text, message):
    with pytest.raises(ExperimentError, match=message) as caught:
        parse_mixture(text, SOURCES)
    assert "\n" not in str(caught.value)


def test_sources():
    assert parse_source("data/lima_1029.jsonl.gz") == ("lima_1029", "data/lima_1029.jsonl.gz")
    assert parse_source("l=hf://org/name@main") == ("l", "hf://org/name@main")
    for text in ("", "=x", "a,b=x", "a=", "longest@a=x"):
        with pytest.raises(ExperimentError, match="wanted NAME=PATH"):
            parse_source(text)


def test_evaluations():
    assert parse_evaluation("human=a/b.jsonl#pilot") == ("human", "a/b.jsonl", "pilot")
    assert parse_evaluation("lima=b.jsonl") == ("lima", "b.jsonl", "all")
    for text in ("b.jsonl", "h=b.jsonl#dev", "=b", "h="):
        with pytest.raises(ExperimentError, match="wanted NAME=PATH#PART"):
            parse_evaluation(text)


def test_random_specs_have_distinct_names_and_ignore_order():
    specs = random_specs(12, ["b", "a"])
    assert len({spec.name for spec in specs}) == 12
    assert specs == random_specs(12, ["a", "b"])
    assert parse_mixture(f"random-001={specs[0]}", ["a", "b"]) == specs[0]


# Methods of a comparison


def test_methods_are_known_names_or_tables_of_decisions():
    assert [str(method) for method in parse_methods(SELECTORS)] == list(SELECTORS)
    found = parse_methods([" rule", "mine=out/a=b.parquet ", "my-2.tool=x"])
    assert found[1:] == [MethodSpec("mine", "out/a=b.parquet"), MethodSpec("my-2.tool", "x")]
    assert str(found[1]) == "mine=out/a=b.parquet"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["rule", "longst"], r"method 'longst' is not known; did you mean 'longest'\?"),
        (["rule", "zzz"], r"method 'zzz' is not known; there are all, ifd"),
        (["rule", ""], r"method '' is not known"),
        (["rule", "mine="], r"method 'mine=': wanted NAME=DECISIONS.parquet"),
        (["rule", "a b=c"], "wanted NAME=DECISIONS.parquet"),
        (["rule", "all=c"], "wanted NAME=DECISIONS.parquet"),
        (["random", "random-s1=c"], "wanted NAME=DECISIONS.parquet"),
        (["rule"], "methods rule came; give two or more to compare, each once"),
        (["rule", "ppl", "rule"], "methods rule, ppl, rule came; give two or more"),
        ([], "methods none came"),
    ],
)
def test_methods_that_are_none_are_refused(texts, said):
    with pytest.raises(ExperimentError, match=said):
        parse_methods(texts)
