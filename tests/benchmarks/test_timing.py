"""Statistics, alternation and the table of the benchmarks, by hand-worked cases."""

from __future__ import annotations

import json

import pytest
from benchmarks.report import HEADER, cells, document, markdown, write
from benchmarks.timing import Agreement, Aim, Row, Spread, Timed, in_turn, machine

from benchmarks import __main__ as command


class Clock:
    """Advances when work is done, and by nothing else."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def row(**changes):
    given = {
        "what": "mtld, 10 rows",
        "unit": "rows/s",
        "ours": (8.0, 10.0, 12.0),
        "theirs": (2.0, 2.0, 4.0),
        "against": "a rival",
    }
    return Row(**{**given, **changes})


def test_contestants_run_in_turn_and_every_other_round_backwards():
    clock, order = Clock(), []

    def work(name, seconds):
        def call():
            order.append(name)
            clock.now += seconds
            return f"{name}{len(order)}"

        return call

    a, b = in_turn([work("a", 1.0), work("b", 3.0)], 3, clock)
    assert "".join(order) == "abbaab"
    assert a == Timed((1.0, 1.0, 1.0), ("a1", "a4", "a5"))
    assert b.seconds == (3.0, 3.0, 3.0)
    assert (a.result, b.result) == ("a5", "b6")
    assert b.rates(6) == (2.0, 2.0, 2.0)


def test_spread():
    spread = Spread.of([3.0, 1.0, 2.0, 10.0])
    assert spread == Spread(2.5, 1.0, 10.0)
    assert str(spread) == "2.5 (1–10)"
    assert str(Spread.of([0.0312345])) == "0.0312"
    assert str(Spread.of([52002.4])) == "52,002"


def test_ratios_are_taken_round_by_round_and_above_one_in_our_favour():
    assert row().ratios == (4.0, 5.0, 3.0)
    times = row(unit="s", ours=(2.0, 1.0), theirs=(6.0, 4.0), higher_is_better=False)
    assert times.ratios == (3.0, 4.0)
    assert row(theirs=()).ratios == ()


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({}, None),
        ({"aim": Aim("ratio", 4.0)}, True),
        ({"aim": Aim("ratio", 4.1)}, False),
        ({"aim": Aim("ratio", 4.0), "theirs": ()}, None),
        ({"aim": Aim("ours", 10.0)}, True),
        ({"aim": Aim("ours", 10.1)}, False),
        ({"aim": Aim("ours", 10.0), "higher_is_better": False}, True),
        ({"aim": Aim("ours", 9.9), "higher_is_better": False}, False),
    ],
)
def test_an_aim_is_met_by_the_median(changes, met):
    assert row(**changes).met is met


def test_cells():
    full = row(agreement=Agreement("identical", True), aim=Aim("ratio", 4.0))
    assert cells(full) == (
        "mtld, 10 rows",
        "10 (8–12) rows/s",
        "a rival: 2 (2–4) rows/s",
        "4 (3–5)",
        "identical",
        "ratio ≥ 4",
        "yes",
    )
    alone = row(theirs=(), against="", aim=Aim("ours", 0.3), unit="s", higher_is_better=False)
    assert cells(alone)[2:] == ("–", "–", "–", "≤ 0.3 s", "no")
    absent = row(theirs=(), against="a rival: not measured", aim=Aim("ratio", 4.0))
    assert cells(absent)[2:] == ("a rival: not measured", "–", "–", "ratio ≥ 4", "")


def test_markdown_is_a_table_of_one_width():
    text = markdown([row(what="a|b", note="Timed once."), row(note="Timed once.")], {"cores": "2"})
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert {line.replace("\\|", "").count("|") for line in table} == {len(HEADER) + 1}
    assert text.count("Timed once.") == 1
    assert "cores 2" in text


def test_every_value_is_written(tmp_path):
    rows = [row(agreement=Agreement("identical", True))]
    write(rows, {"cores": "2"}, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))
    assert found == json.loads(
        document([row(agreement=Agreement("identical", True))], {"cores": "2"})
    )
    assert found["machine"] == {"cores": "2"}
    assert found["rows"][0]["ours"] == [8.0, 10.0, 12.0]
    assert found["rows"][0]["ratios"] == [4.0, 5.0, 3.0]
    assert (tmp_path / "out" / "bench.md").is_file()


@pytest.mark.parametrize(
    ("agreement", "aim", "status"),
    [
        (Agreement("far apart", False), None, 1),
        (Agreement("identical", True), Aim("ratio", 1e9), 0),
        (None, None, 0),
    ],
)
def test_only_scores_that_differ_fail(agreement, aim, status, monkeypatch, tmp_path):
    monkeypatch.setattr(
        "benchmarks.startup.run", lambda options: [row(agreement=agreement, aim=aim)]
    )
    assert command.main(["startup", "--output", str(tmp_path)]) == status
    said = "DIFFER: far apart" in (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert said is (status == 1)


def test_the_machine_is_named():
    found = machine(7)
    assert found["seed"] == "7"
    assert {"processor", "cores", "bf16", "torch", "transformers", "commit", "date"} <= set(found)
