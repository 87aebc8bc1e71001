from __future__ import annotations

import pytest

from instructmining.evaluation.judges.base import Question
from instructmining.evaluation.judges.prompt import messages, read_verdict


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("Verdict: A", "first"),
        ("The second is right.\nVerdict: B", "second"),
        ("Both do.\nVerdict: tie", "tie"),
        ("**Verdict: B**", "second"),
        ("Verdict: **A**.", "first"),
        ('Verdict - "tie"', "tie"),
        ("verdict: [[b]]", "second"),
        ("A", "first"),
        ("  B.\n", "second"),
        ("[[A]]", "first"),
        ("Verdict: A, as said.\nVerdict: A", "first"),
    ],
)
def test_a_verdict_is_read(reply, wanted):
    assert read_verdict(reply) == wanted


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Reply A is better than reply B.",
        "Verdict: both",
        "Verdict: Better is A",
        "Verdict: A\nNo.\nVerdict: B",
        "Verdict: Apple",
        "A or B",
        "I cannot judge this.",
    ],
)
def test_nothing_is_guessed(reply):
    assert read_verdict(reply) is None


def test_both_replies_are_shown_in_their_order_and_whole():
    question = Question("What is {this}?", "one {first}", "")
    system, user = messages(question)
    assert (system["role"], user["role"]) == ("system", "user")
    text = user["content"]
    assert "What is {this}?" in text
    assert text.index('name="A">\none {first}') < text.index('name="B">\n(an empty reply)')
