"""Heads beside trivial scores and UniEval's own, on judgements no head was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from experiments.heads import judged
from experiments.heads.judged import Half, Rating
from experiments.heads.recipe import chosen_layers
from experiments.runs_table import markdown

from instructmining.examples import Example
from instructmining.heads.fit import Pairs
from instructmining.heads.measure import (
    Interval,
    pair_accuracy,
    paired_gain,
    same_length,
    spearman,
    spearman_gain,
)
from instructmining.heads.preferences import Preference, examples_of
from instructmining.heads.states import Features
from instructmining.heads.train import runnable, trivial_margins
from instructmining.models.heads import Head, HeadFile

_BEGIN, _END = "<!-- table -->", "<!-- end of table -->"

_UNIEVAL = "UniEval, published"

Reader = Callable[[Sequence[Example]], Features]


@dataclass(frozen=True)
class Line:
    """One score on one set of judgements.

    Parameters
    ----------
    column : str
        The head's column.
    judgements : str
        Which set.
    score : str
        ``"head"``, or what it stands beside.
    n : int
        Pairs, or responses.
    value : Interval
        Share of pairs ranked as judged, or rank correlation.
    """

    column: str
    judgements: str
    score: str
    n: int
    value: Interval


@dataclass(frozen=True)
class PairSet:
    """Pairs of which one response was preferred, and the features of all."""

    column: str
    name: str
    pairs: Sequence[Preference]
    features: Features
    layers: tuple[int, ...]

    def lines(self, head: Head) -> list[Line]:
        """Compare a head with length and likelihood, on all pairs and those of similar length."""
        chosen = self._chosen()
        words = self.features.n_words
        margins = {
            "head": self._margins(head, chosen),
            **trivial_margins(self.features, chosen),
        }
        near = same_length(words[chosen.better], words[chosen.worse])
        lines = []
        every = np.ones(len(chosen), dtype=bool)
        for label, mask in ((self.name, every), (f"{self.name}, same length", near)):
            groups = chosen.groups[mask].tolist()
            for score, margin in margins.items():
                found = pair_accuracy(margin[mask], groups)
                lines.append(Line(self.column, label, score, len(groups), found))
            for score in ("longer", "likelier"):
                gain = paired_gain(margins["head"][mask], margins[score][mask], groups)
                lines.append(Line(self.column, label, f"gain over {score}", len(groups), gain))
        return lines

    def values(self, head: Head) -> dict[str, float]:
        """Return the share of pairs ranked as judged, of all and of those of similar length."""
        chosen = self._chosen()
        words = self.features.n_words
        near = same_length(words[chosen.better], words[chosen.worse])
        right = self._margins(head, chosen) > 0
        return {
            self.name: float(right.mean()),
            f"{self.name}, same length": float(right[near].mean()),
        }

    def _chosen(self) -> Pairs:
        return runnable(self.features, [pair.group for pair in self.pairs])

    def _margins(self, head: Head, chosen: Pairs) -> np.ndarray:
        scores = scored(head, self.features, self.layers)
        return np.asarray(scores[chosen.better] - scores[chosen.worse])


@dataclass(frozen=True)
class RatingSet:
    """Rated responses and their features."""

    column: str
    name: str
    ratings: Sequence[Rating]
    features: Features
    layers: tuple[int, ...]

    def lines(self, head: Head) -> list[Line]:
        """Compare a head with length, likelihood and, where published, UniEval."""
        known = np.flatnonzero(np.isfinite(self.features.nll))
        groups = [self.ratings[place].group for place in known.tolist()]
        judgements = np.asarray([rating.judgement for rating in self.ratings])[known]
        scores = {
            "head": scored(head, self.features, self.layers)[known],
            "longer": self.features.n_words.astype(np.float64)[known],
            "likelier": -self.features.nll[known],
        }
        published = [rating.unieval for rating in self.ratings]
        if all(score is not None for score in published):
            scores[_UNIEVAL] = np.asarray(published, dtype=np.float64)[known]
        n = len(known)
        lines = [
            Line(self.column, self.name, score, n, spearman(values, judgements, groups))
            for score, values in scores.items()
        ]
        if all(rating.marks for rating in self.ratings):
            lines.append(Line(self.column, self.name, "one judge", n, self._between_judges()))
        for score in [score for score in scores if score != "head"]:
            gain = spearman_gain(scores["head"], scores[score], judgements, groups)
            lines.append(Line(self.column, self.name, f"gain over {score}", n, gain))
        return lines

    def _between_judges(self) -> Interval:
        """Compare each judge with the mean of the others, all together."""
        marks = np.asarray([rating.marks for rating in self.ratings], dtype=np.float64)
        others = (marks.sum(axis=1, keepdims=True) - marks) / (marks.shape[1] - 1)
        groups = [rating.group for rating in self.ratings for _ in rating.marks]
        return spearman(marks.ravel(), others.ravel(), groups)

    def values(self, head: Head) -> dict[str, float]:
        """Return the rank correlation."""
        judgements = np.asarray([rating.judgement for rating in self.ratings])
        scores = scored(head, self.features, self.layers)
        groups = [rating.group for rating in self.ratings]
        return {self.name: spearman(scores, judgements, groups, n_boot=1).value}


def judgement_sets(
    data: Path, half: Half, read: Reader, layers: tuple[int, ...], columns: Sequence[str]
) -> list[PairSet | RatingSet]:
    """Read the judgements of one half for some columns, and run the model over their responses.

    Those that serve to choose include the rated descriptions, which are not halved.
    """
    found: list[PairSet | RatingSet] = []
    if "rew" in columns:
        for name, pairs in (
            ("AlpacaEval, GPT-4", judged.alpaca_eval(data, half)),
            ("expert revisions", judged.expert_revisions(data, half)),
        ):
            found.append(PairSet("rew", name, pairs, read(examples_of(pairs)), layers))
    for column in judged.PERSONA.keys() & columns:
        ratings = judged.personachat(data, half, column)
        features = read([rating.example for rating in ratings])
        found.append(RatingSet(column, "PersonaChat", ratings, features, layers))
    if "nat" in columns and half == "choose":
        found += description_sets(data, read, layers)
    return sorted(found, key=lambda one: columns.index(one.column))


def description_sets(data: Path, read: Reader, layers: tuple[int, ...]) -> list[RatingSet]:
    """Read the rated descriptions."""
    found = []
    for name in ("sfhot", "sfres"):
        ratings = judged.descriptions(data, name)
        features = read([rating.example for rating in ratings])
        found.append(RatingSet("nat", f"{name} (chosen on)", ratings, features, layers))
    return found


def table(lines: Sequence[Line]) -> str:
    """Write lines as a Markdown table: one row per set of judgements, one column per score."""
    scores = list(dict.fromkeys(line.score for line in lines))
    rows = list(dict.fromkeys((line.column, line.judgements, line.n) for line in lines))
    found = {(line.column, line.judgements, line.score): line.value for line in lines}
    cells = [["head", "judged by", "n", *scores]]
    for column, judgements, n in rows:
        values = [_cell(found.get((column, judgements, score)), score) for score in scores]
        cells.append([f"`{column}`", judgements, f"{n:,}", *values])
    return markdown(cells)


def to_json(line: Line) -> dict[str, Any]:
    """Return a line as it is written into a card."""
    about = {"judged_by": line.judgements, "score": line.score, "n": line.n}
    return {**about, **{name: round(value, 4) for name, value in asdict(line.value).items()}}


def lines_of(file: HeadFile) -> list[Line]:
    """Return the lines that stand in the cards of a file's heads."""
    lines = []
    for column, card in file.card.items():
        for one in card["judgements"]:
            found = Interval(one["value"], one["low"], one["high"])
            lines.append(Line(column, one["judged_by"], one["score"], one["n"], found))
    return lines


def documented(text: str, file: HeadFile) -> str:
    """Put the table of a file's cards between the marks of a page."""
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    return f"{before}{_BEGIN}\n\n{table(lines_of(file))}\n\n{_END}{after}"


def scored(head: Head, features: Features, layers: Sequence[int]) -> np.ndarray:
    """Return a head's score of every response."""
    states = chosen_layers(features.states, layers, head.layers).astype(np.float64)
    return np.asarray(states @ head.weight.ravel().astype(np.float64) + head.bias)


def _cell(found: Interval | None, score: str) -> str:
    if found is None:
        return "–"
    form = "+.3f" if score.startswith("gain") else ".3f"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"
