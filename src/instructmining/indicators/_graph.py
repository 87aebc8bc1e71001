"""Approximate nearest neighbours by navigable graphs (usearch), with their recall measured.

A large reference is cut into shards with a graph each, of which one is built at a time and the
others wait on the disk: what a query finds in each is merged, so that the memory of a graph does
not grow with the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from instructmining.indicators._neighbours import distances, nearest

#: Share of the true neighbours that must be found.
WANTED_RECALL = 0.98
#: Queries compared with the exact search to measure it.
_SAMPLE = 1_000
#: Candidates the search keeps while it walks, from fast to thorough.
_EXPANSIONS = (64, 128, 256, 512, 1_024)
#: Links of a row, and candidates kept while one is put in, by the rows a graph has at most.
#: With the library's 16 and 64 some rows of crowded clusters are out of reach, however
#: thorough the search; the more rows, the more crowded.
_BUILDS = (
    (500_000, {"connectivity": 24, "expansion_add": 96}),
    (math.inf, {"connectivity": 32, "expansion_add": 128}),
)
#: Reference rows of one graph; more are cut into shards.
SHARD_ROWS = 1_000_000
#: Queries searched at one time.
_BLOCK = 65_536


def available() -> bool:
    """Return whether usearch is installed."""
    try:
        import usearch  # noqa: F401
    except ImportError:
        return False
    return True


def kth_distance_by_graph(
    queries: np.ndarray, reference: np.ndarray, own: np.ndarray, k: int, width: int
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Search graphs over the reference, if they can be shown to find what is there.

    Vectors stand in a graph as float16; the distances to the rows found are those of
    the embeddings given. Built on several cores, the graph differs a little from run to
    run, and with it the rows found.

    Parameters
    ----------
    queries : ndarray of float32, shape (n, d)
        Unit rows, at least one.
    reference : ndarray of float32, shape (m, d)
        Unit rows.
    own : ndarray of int, shape (n,)
        The reference row that is not to be found; -1 for none.
    k : int
        Which neighbour, from 1.
    width : int
        How many to find before distances are computed.

    Returns
    -------
    found : ndarray of float64, shape (n,), or None
        Distances to the k-th neighbour, infinite where it is missing; None if no setting
        reached `WANTED_RECALL`.
    recorded : dict
        ``recall`` at k over a sample of queries, ``recall_queries`` their number,
        ``expansion`` the setting of the search, ``connectivity`` and ``expansion_add`` those
        of the graphs, ``shards`` how many there are, where it is more than one.

    References
    ----------
    Malkov and Yashunin (2020), IEEE TPAMI 42(4), 824-836.
    """
    chosen = np.random.default_rng(0).choice(
        len(queries), min(_SAMPLE, len(queries)), replace=False
    )
    sample, mine = queries[chosen], own[chosen]
    # The sample's rows are found once exactly, whatever the number of settings tried.
    truth = np.concatenate(
        [
            distances(sample[block], reference, columns, k)
            for block, columns in nearest(sample, reference, mine, width)
        ]
    )
    recorded: dict[str, Any] = {"recall": 0.0, "recall_queries": len(chosen), "expansion": 0}
    with _graphs(reference, recorded) as graphs:
        for expansion in (e for e in _EXPANSIONS if e > width):
            for graph in graphs:
                graph.expansion_search = expansion
            near = distances(sample, reference, _search(graphs, sample, mine, width), k)
            # Counted by distance: of several rows equally far any will do.
            recall = float(np.mean(near <= truth[:, -1:]))
            recorded.update(recall=round(recall, 4), expansion=expansion)
            if recall >= WANTED_RECALL:
                return _kth(graphs, queries, reference, own, (k, width)), recorded
    return None, recorded


@contextmanager
def _graphs(reference: np.ndarray, recorded: dict[str, Any]) -> Iterator[list[Any]]:
    """Build the graphs, and record how; of several, each waits in a file that is looked into."""
    from usearch.index import Index

    n_shards = math.ceil(len(reference) / SHARD_ROWS)
    bounds = np.linspace(0, len(reference), n_shards + 1).astype(int)
    build = next(build for most, build in _BUILDS if np.diff(bounds).max() <= most)
    recorded |= build
    with TemporaryDirectory() as folder:
        graphs: list[Any] = []
        for number, (start, end) in enumerate(pairwise(bounds)):
            graph: Any = Index(ndim=reference.shape[1], metric="ip", dtype="f16", **build)
            graph.add(np.arange(start, end), reference[start:end])
            if n_shards > 1:
                recorded["shards"] = n_shards
                file = Path(folder) / f"{number}.usearch"
                graph.save(file)
                graph = Index.restore(file, view=True)
            graphs.append(graph)
        yield graphs
        # Let go of the files before they are removed.
        graphs.clear()


def _kth(
    graphs: Sequence[Any],
    queries: np.ndarray,
    reference: np.ndarray,
    own: np.ndarray,
    sizes: tuple[int, int],
) -> np.ndarray:
    k, width = sizes
    found = np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        columns = _search(graphs, queries[block], own[block], width)
        found[block] = distances(queries[block], reference, columns, k)[:, -1]
    return found


def _search(graphs: Sequence[Any], queries: np.ndarray, own: np.ndarray, width: int) -> np.ndarray:
    """Return reference rows, shape (n, width + 1), -1 where there is none to return."""
    found = [_search_one(graph, queries, width + 1) for graph in graphs]
    columns, far = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
    if len(graphs) > 1:
        best = np.argpartition(far, width, axis=1)[:, : width + 1]
        columns = np.take_along_axis(columns, best, axis=1)
    columns[columns == own[:, None]] = -1
    return columns


def _search_one(graph: Any, queries: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows found in one graph, -1 where there is none, and how far they are."""
    matches = graph.search(queries, n)
    missing = np.arange(n) >= matches.counts[:, None]
    columns = np.where(missing, -1, matches.keys.astype(np.int64))
    return columns, np.where(missing, np.inf, matches.distances)
