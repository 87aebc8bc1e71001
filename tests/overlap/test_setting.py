from __future__ import annotations

import pytest

from instructmining.errors import InputError
from instructmining.overlap.setting import OverlapSetting


def test_by_default_nothing_is_looked_for():
    assert OverlapSetting.of() == OverlapSetting()


def test_values_are_read():
    asked = {"overlap": "flag", "overlap_similarity": "0.7", "overlap_distance": 0.2}
    setting = OverlapSetting.of(["a.jsonl", "b.jsonl"], **asked)
    assert setting == OverlapSetting(("a.jsonl", "b.jsonl"), "flag", 0.7, 0.2)
    assert OverlapSetting.of("one.jsonl").files == ("one.jsonl",)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"overlap": "flag"}, "--overlap flag without an evaluation file"),
        ({"overlap_similarity": 0.7}, "--overlap-similarity without an evaluation file"),
        ({"overlap_distance": 0.2}, "--overlap-distance without an evaluation file"),
        ({"exclude_overlap": ["a"], "overlap": "mark"}, "'mark': wanted drop or flag"),
        ({"exclude_overlap": ["a"], "overlap_similarity": "70%"}, "from 0.1 to 1"),
        ({"exclude_overlap": ["a"], "overlap_similarity": 0.05}, "from 0.1 to 1"),
        ({"exclude_overlap": ["a"], "overlap_similarity": 1.1}, "from 0.1 to 1"),
        ({"exclude_overlap": ["a"], "overlap_similarity": float("nan")}, "from 0.1 to 1"),
        ({"exclude_overlap": ["a"], "overlap_similarity": True}, "from 0.1 to 1"),
        ({"exclude_overlap": ["a"], "overlap_distance": 0}, "--overlap-distance 0: wanted a dist"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked, said):
    with pytest.raises(InputError) as caught:
        OverlapSetting.of(**asked)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
