"""Neighbour distances against scikit-learn and pynndescent, and by graph for large pools.

Alone it takes real embeddings too: ``python -m benchmarks.knn EMBEDDINGS.npy``, a matrix of
unit rows; and ``--graph N`` runs the approximate search over N synthetic rows once, in a
process of its own, and prints time, recall and peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.timing import Agreement, Aim, Options, Row, in_turn, say
from instructmining.indicators import _graph
from instructmining.indicators.base import Reference
from instructmining.indicators.knn import NeighbourDistance, kth_neighbour_distance

ROWS = 52_002
DIMENSIONS = 384
K = 6
CENTRES = 300
#: Directions in which the rows of a cluster differ most.
INTRINSIC = 40
AIM_SECONDS = 30.0


def run(options: Options) -> list[Row]:
    """Time the search among synthetic rows."""
    rows = options.rows or ROWS
    return compare(clustered(rows, options.seed), f"{rows:,} clustered rows", options.repeats)


def clustered(rows: int, seed: int) -> np.ndarray:
    """Draw unit rows that crowd around centres, as sentence embeddings do."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32)

    centres, directions = normal(CENTRES, DIMENSIONS), normal(INTRINSIC, DIMENSIONS)
    drawn = np.empty((rows, DIMENSIONS), dtype=np.float32)
    for start in range(0, rows, 65_536):
        block = drawn[start : start + 65_536]
        block[:] = 0.6 * centres[random.integers(CENTRES, size=len(block))]
        block += 0.08 * normal(len(block), INTRINSIC) @ directions
        block += 0.2 * normal(*block.shape)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return drawn


def compare(embeddings: np.ndarray, what: str, repeats: int) -> list[Row]:
    """Time every search among the rows of one matrix, in turn.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, d)
        Unit rows.
    what : str
        What they are.
    repeats : int
        Rounds.
    """
    keys = [str(row) for row in range(len(embeddings))]
    rivals: dict[str, Callable[[], np.ndarray]] = {
        "scikit-learn brute force": partial(_sklearn, embeddings)
    }
    if find_spec("pynndescent"):
        rivals["pynndescent"] = partial(_pynndescent, embeddings)
        # Its code is compiled at the first call.
        _pynndescent(embeddings[:1_000])
    else:
        say("pynndescent is not installed: left out")
    ours, *others = in_turn(
        [
            lambda: kth_neighbour_distance(embeddings, keys, embeddings, keys, K),
            *rivals.values(),
        ],
        repeats,
    )
    return [
        Row(
            what=f"knn_{K}, {what} among themselves",
            unit="s",
            ours=ours.seconds,
            theirs=theirs.seconds,
            against=name,
            agreement=_agreement(ours.result, theirs.result, exact=name != "pynndescent"),
            aim=Aim("ours", AIM_SECONDS) if len(embeddings) == ROWS else None,
            higher_is_better=False,
        )
        for (name, _), theirs in zip(rivals.items(), others, strict=True)
    ]


def _agreement(ours: np.ndarray, theirs: np.ndarray, *, exact: bool) -> Agreement:
    apart = np.abs(ours - theirs)
    if exact:
        # Theirs are roots of differences of float32 products: few digits near zero.
        return Agreement(f"largest difference {apart.max():.0e}", bool(apart.max() < 1e-3))
    found = float(np.mean(apart < 1e-5))
    return Agreement(f"its {K}th neighbour is the true one for {found:.1%} of the rows", True)


def _sklearn(embeddings: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(embeddings)
    distances: np.ndarray = search.kneighbors()[0][:, -1]
    return distances


def _pynndescent(embeddings: np.ndarray) -> np.ndarray:
    from pynndescent import NNDescent

    # A row stands first in its own list.
    index = NNDescent(embeddings, n_neighbors=K + 1, random_state=0)
    distances: np.ndarray = index.neighbor_graph[1][:, -1]
    return distances


def by_graph(rows: int, seed: int) -> dict[str, float | str]:
    """Search a graph over synthetic rows once.

    Returns
    -------
    dict
        ``rows``; ``seconds``; ``peak_gb`` of the process, embeddings included; and what
        was recorded of the search, with the measured ``recall``.
    """
    embeddings = clustered(rows, seed)
    keys = [f"{row:032x}" for row in range(rows)]
    began = time.perf_counter()
    found = NeighbourDistance(K).compare(keys, embeddings, Reference(keys, embeddings, "pool"))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "rows": rows,
        "seconds": round(seconds, 1),
        "peak_gb": round(peak, 2),
        **found.recorded,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare on a file's embeddings, or run the graph once; print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.knn", description=__doc__)
    parser.add_argument("embeddings", nargs="?", type=Path, help=".npy, float32 unit rows")
    parser.add_argument("--graph", type=int, metavar="ROWS", help="search a graph over so many")
    parser.add_argument("--shard-rows", type=int, help="rows of one graph; more are shards")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.embeddings:
        rows = compare(np.load(given.embeddings), given.embeddings.stem, given.repeats)
        for row in rows:
            sys.stdout.write(json.dumps(row.__dict__, default=str) + "\n")
    if given.shard_rows:
        _graph.SHARD_ROWS = given.shard_rows
    if given.graph:
        sys.stdout.write(json.dumps(by_graph(given.graph, given.seed)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
