"""Read pools and score them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructmining.presets import SMALL

if TYPE_CHECKING:
    from instructmining.examples import Example
    from instructmining.formats import Pool
    from instructmining.scoring.engine import Progress
    from instructmining.scoring.reference import ReferenceSpec
    from instructmining.scoring.rows import Source
    from instructmining.scoring.store import Store
    from instructmining.scoring.table import ScoreTable


@dataclass(frozen=True)
class Scoring:
    """How a pool is scored where scores are not given.

    Parameters
    ----------
    lm : str, optional
        Causal language model of ``nll``, ``ppl`` and ``ifd``, and tokenizer of lengths: a
        name or path; by default the small one.
    encoder : str, optional
        Sentence encoder of ``knn_i``; by default the small one.
    knn_reference : str or path, optional
        ``"pool"``, or a file, that ``knn_i`` compares with; by default a sample of the pool.
    store : path, optional
        Score store; by default in the cache folder.
    progress : Progress, optional
        Told about every stage and batch.
    """

    lm: str | None = None
    encoder: str | None = None
    knn_reference: str | Path | None = None
    store: str | Path | None = None
    progress: Progress | None = None


def load_examples(source: Any, **options: Any) -> list[Example]:
    """Read every record of a pool.

    Parameters
    ----------
    source : path, list of dict, datasets.Dataset, or Pool
        The pool.
    **options
        As for `formats.open_pool`: ``format``, ``columns``, ``config``, ``split``.
    """
    return list(open_source(source, **options).examples())


def score(
    source: Any, columns: Sequence[str] | None = None, *, scoring: Scoring | None = None
) -> ScoreTable:
    """Compute indicators for every row of a pool.

    Parameters
    ----------
    source : path, list of dict, datasets.Dataset, Pool, or list of Example
        The pool.
    columns : sequence of str, optional
        Columns wanted; by default those of the `small` preset.
    scoring : Scoring, optional
        Models, neighbour reference, store, progress.

    Returns
    -------
    ScoreTable
        One row per row of the pool, in input order; null where a value is undefined.

    Raises
    ------
    InputError
        If the pool cannot be read or no indicator fills a column.
    ModelError
        If a model is not there.
    """
    from instructmining.indicators.base import indicators_for
    from instructmining.models.sources import DEFAULT_ENCODER, DEFAULT_LM
    from instructmining.scoring.engine import Engine, Silent
    from instructmining.scoring.passes import Models

    how = scoring or Scoring()
    wanted = list(columns or SMALL)
    indicators = indicators_for(wanted)
    models = Models(how.lm or DEFAULT_LM, how.encoder or DEFAULT_ENCODER)
    engine = Engine(open_store(how.store), models, how.progress or Silent())
    reference = _reference(how.knn_reference)
    return engine.score(_examples(source), indicators, columns=wanted, reference=reference)


def open_store(folder: Path | str | None = None) -> Store:
    """Return the score store in `folder`, by default in the cache folder."""
    from instructmining.models.sources import cache_folder
    from instructmining.scoring.store import Store

    return Store(Path(folder) if folder is not None else cache_folder() / "store")


def open_source(source: Any, **options: Any) -> Pool:
    """Open a pool, unless it is open already."""
    from instructmining.formats import Pool, open_pool

    return source if isinstance(source, Pool) else open_pool(source, **options)


def _examples(source: Any) -> Source | list[Example]:
    from instructmining.examples import Example

    if isinstance(source, list) and source and isinstance(source[0], Example):
        return source
    return open_source(source)


def _reference(named: str | Path | None) -> ReferenceSpec | None:
    from instructmining.scoring.reference import ReferenceSpec

    if named is None:
        return None
    if named == "pool":
        return ReferenceSpec("pool")
    return ReferenceSpec("file", open_source(named))
