from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.contest.choosing import Candidates
from instructmining.experiments.contest.targets import read_targets
from instructmining.experiments.plan import EvaluationSet, Source, rows_of_sources
from instructmining.experiments.planning import read_materials
from instructmining.experiments.splits import evaluation_part
from instructmining.formats import open_pool
from texts import write_pool


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    return Path(write_pool(tmp_path / "evaluation.jsonl", 24, letters="nopqrst", seed=3))


def sets(path: Path, *given: tuple[str, str]) -> tuple[EvaluationSet, ...]:
    pool = write_pool(path.parent / "pool.jsonl", 5, letters="abc", seed=1)
    named = [(name, str(path), part) for name, part in given]
    return read_materials({"pool": str(pool)}, named).evaluations


def words(examples: Sequence[Example]) -> list[int]:
    return [len(example.response.split()) for example in examples]


def texts(found: Candidates, sources: tuple[Source, ...]) -> list[str]:
    examples = rows_of_sources(sources, found.rows)
    told = [examples[row] for row in found.rows]
    assert found.tokens.tolist() == words(told)
    return [example.response for example in told]


def part(path: Path, name: str) -> list[str]:
    return [row.response for row in evaluation_part(open_pool(path).examples(), name)]


def test_the_part_that_is_not_measured_is_taken(evaluation: Path) -> None:
    found, sources = read_targets(sets(evaluation, ("human", "report")), words)
    assert texts(found, sources) == part(evaluation, "fit")
    assert not {*texts(found, sources)} & {*part(evaluation, "report")}
    (source,) = sources
    assert (source.name, source.path, source.n_rows) == ("human#fit", str(evaluation), 24)


def test_a_row_that_overlaps_a_measured_one_is_left_out(evaluation: Path) -> None:
    fit = part(evaluation, "fit")
    lines = [json.loads(line) for line in evaluation.read_text().splitlines()]
    measured = max(part(evaluation, "report"), key=len)
    for line in lines:
        if line["output"] == fit[0]:
            line["output"] = measured.upper()
    evaluation.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found, sources = read_targets(sets(evaluation, ("human", "report")), words)
    assert texts(found, sources) == fit[1:]
    assert sum(sources[0].excluded.values()) == 1


def test_of_two_files_with_the_same_rows_one_gives_them(evaluation: Path) -> None:
    copy = evaluation.with_name("copy.jsonl")
    copy.write_bytes(evaluation.read_bytes())
    (one,), (two,) = (sets(p, (p.stem, "report")) for p in (evaluation, copy))
    found, sources = read_targets((one, two), words)
    assert texts(found, sources) == part(evaluation, "fit")
    assert {row.source for row in found.rows} == {"evaluation#fit"}


@pytest.mark.parametrize("also", ["fit", "all"])
def test_nothing_is_taken_that_is_measured(evaluation: Path, also: str) -> None:
    given = sets(evaluation, ("human", "report"), ("other", also))
    with pytest.raises(ExperimentError, match=rf"human \(report\), other \({also}\) came; give"):
        read_targets(given, words)
