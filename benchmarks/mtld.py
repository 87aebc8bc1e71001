"""MTLD against lexicalrichness, on one core and on all, from text and from the same words.

lexicalrichness splits text in its own way, so the scores are compared where both read the
words that `instructmining` finds and end a factor by the same convention.

From text, rows go in chunks through what `score` hands them to: on all cores this process
computes the chunks for which no worker is free. The workers have started before, as they do
in `score` while the pool is read; handing texts over and values back is timed.
lexicalrichness, which has no workers, is timed on one core.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.pool import sample
from benchmarks.timing import Agreement, Aim, Options, Row, in_turn
from instructmining.examples import Example
from instructmining.indicators.mtld import LexicalDiversity, mtld, words
from instructmining.scoring.workers import Crew, Task, worker_count

ROWS = 52_002
THRESHOLD = 0.72
#: Rows handed over at one time, as by `score`.
CHUNK = 4_096
INDICATOR = LexicalDiversity(threshold=THRESHOLD, inclusive=True)


def run(options: Options) -> list[Row]:
    """Time both on the responses of one sample of rows."""
    from lexicalrichness import LexicalRichness

    drawn, pool = sample(options.rows or ROWS, options.seed)
    # lexicalrichness divides by zero where it finds no word. The measure reads responses.
    examples = [
        Example(e.row, (), e.response)
        for e in drawn
        if words(e.response) and LexicalRichness(e.response).words
    ]
    texts = [e.response for e in examples]
    found = [words(text) for text in texts]
    cores = len(os.sched_getaffinity(0))

    def of_text() -> list[float]:
        return [LexicalRichness(text).mtld(THRESHOLD) for text in texts]

    def of_words() -> list[float]:
        return [
            LexicalRichness(tokens, preprocessor=None, tokenizer=None).mtld(THRESHOLD)
            for tokens in found
        ]

    with Crew(0) as alone, Crew(worker_count(len(examples))) as crew:
        contestants: list[Callable[[], Sequence[float] | np.ndarray]] = [
            lambda: [mtld(tokens, threshold=THRESHOLD, inclusive=True) for tokens in found],
            of_words,
            lambda: _chunk_by_chunk(alone, examples),
            of_text,
            lambda: _chunk_by_chunk(crew, examples),
        ]
        crew.wait()
        walk, their_walk, whole, their_whole, everywhere = in_turn(contestants, options.repeats)
    wanted = np.asarray(their_walk.result)
    what = f"{len(examples):,} responses of {pool}"
    return [
        Row(
            what=f"mtld of {what}, {label}",
            unit="rows/s",
            ours=ours.rates(len(examples)),
            theirs=theirs.rates(len(examples)),
            against="lexicalrichness, one core",
            agreement=_agreement(ours.result, wanted),
            aim=aim,
        )
        for label, ours, theirs, aim in (
            ("words given, one core", walk, their_walk, None),
            ("from text, one core", whole, their_whole, None),
            (f"from text, cores: {cores}", everywhere, their_whole, Aim("ratio", 4.0)),
        )
    ]


def _chunk_by_chunk(crew: Crew, examples: Sequence[Example]) -> np.ndarray:
    values: list[np.ndarray] = []
    pending: deque[Task] = deque()
    for start in range(0, len(examples), CHUNK):
        pending.append(crew.submit([INDICATOR], examples[start : start + CHUNK]))
        while len(pending) > crew.size:
            values += pending.popleft().values()
    while pending:
        values += pending.popleft().values()
    return np.concatenate(values)[:, 0]


def _agreement(ours: Sequence[float] | np.ndarray, theirs: np.ndarray) -> Agreement:
    """Compare scores of the same words; the order of two additions may differ."""
    apart = float(np.max(np.abs(np.asarray(ours) / theirs - 1)))
    return Agreement(f"same words: largest relative difference {apart:.0e}", apart < 1e-12)
