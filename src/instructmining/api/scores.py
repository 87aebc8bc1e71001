"""Read pools and score them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from instructmining.presets import preset

if TYPE_CHECKING:
    from instructmining.examples import Example
    from instructmining.formats import Pool
    from instructmining.models.questions import History
    from instructmining.scoring.engine import Engine, Progress
    from instructmining.scoring.forecast import Forecast
    from instructmining.scoring.labour import Labour
    from instructmining.scoring.passes import Models
    from instructmining.scoring.reference import ReferenceSpec
    from instructmining.scoring.rows import Source
    from instructmining.scoring.store import Store
    from instructmining.scoring.table import Definition, ScoreTable
    from instructmining.shard import Shard

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Scoring:
    """How a pool is scored where scores are not given.

    Parameters
    ----------
    preset : str
        ``"small"`` or ``"paper"``: the columns computed where none are named, and the models.
    lm : str, optional
        Causal language model of ``nll``, ``ppl`` and ``ifd``, and tokenizer of lengths: a
        name or path; by default the preset's.
    encoder : str, optional
        Sentence encoder of ``knn_i``, and of distances between rows kept; by default the
        preset's.
    reward : str, optional
        Reward model of ``rew``, or a file of heads (``.safetensors``); by default the preset's.
    evaluator : str, optional
        UniEval model of ``nat``, ``coh`` and ``und``, or a file of heads; by default the
        preset's.
    history : str
        How the evaluator is shown the turns before the response: ``"readme"`` (as its
        authors do) or ``"plain"``.
    knn_reference : str or path, optional
        ``"pool"``, or a file, that ``knn_i`` compares with; by default a sample of the pool.
    store : path, optional
        Score store; by default in the cache folder. Or ``s3://BUCKET/PREFIX`` and the like, see
        `folders.open_folder`.
    progress : Progress, optional
        Told about every stage and batch.
    engine : str
        Who runs the passes: ``"local"``, this process, or the workers of a ``"ray"`` cluster.
    workers : int, optional
        How many of those; by default one per GPU, or per core where there is none.
    """

    preset: str = "small"
    lm: str | None = None
    encoder: str | None = None
    reward: str | None = None
    evaluator: str | None = None
    history: History = "readme"
    knn_reference: str | Path | None = None
    store: str | Path | None = None
    progress: Progress | None = None
    engine: EngineName = "local"
    workers: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns computed where none are named; small heads fit no other model than theirs."""
        chosen = preset(self.preset)
        unfit = chosen.heads if self.lm is not None else ()
        return tuple(column for column in chosen.columns if column not in unfit)

    def models(self) -> Models:
        """Return the models named, the preset's where none is, the embedded ones at last."""
        from instructmining.models.sources import DEFAULT_ENCODER, DEFAULT_LM
        from instructmining.scoring.passes import Models

        chosen = preset(self.preset)
        return Models(
            lm=self.lm or chosen.lm or DEFAULT_LM,
            encoder=self.encoder or chosen.encoder or DEFAULT_ENCODER,
            reward=self.reward or chosen.reward,
            evaluator=self.evaluator or chosen.evaluator,
            history=self.history,
        )

    def labour(self) -> Labour:
        """Return who runs the passes.

        Raises
        ------
        InputError
            If workers are asked for where there are none.
        """
        if self.engine == "ray":
            from instructmining.scoring.ray import RayLabour

            return RayLabour(self.workers)
        from instructmining.errors import InputError
        from instructmining.scoring.labour import Local

        if self.workers is not None:
            raise InputError(
                f"workers = {self.workers}: the local engine has none; take engine ray as well"
            )
        return Local()


def load_examples(source: Any, **options: Any) -> list[Example]:
    """Read every record of a pool.

    Parameters
    ----------
    source : path, list of dict, datasets.Dataset, DataFrame, Table, or Pool
        The pool; DataFrames of polars and pandas, and Tables of pyarrow, are taken.
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
    source : path, list of dict, datasets.Dataset, DataFrame, Table, Pool, or list of Example
        The pool.
    columns : sequence of str, optional
        Columns wanted; by default those of the preset.
    scoring : Scoring, optional
        Models, neighbour reference, store, progress.

    Returns
    -------
    ScoreTable
        One row per row of the pool, in input order; null where a value is undefined.

    Raises
    ------
    InputError
        If the pool cannot be read, no indicator fills a column, or one reads a model that
        has to be named.
    ModelError
        If a model is not there.
    """
    return score_if(source, columns, scoring, lambda definitions: None)


def fill(
    source: Any,
    columns: Sequence[str] | None = None,
    *,
    shard: Shard,
    scoring: Scoring | None = None,
) -> int:
    """Compute one share of what `score` would, into the store.

    Processes that were given the shards of one division, and one store, fill it together, on
    one machine or on several that share the folder; `score` then finds everything there.

    Parameters
    ----------
    source, columns, scoring
        As for `score`.
    shard : Shard
        Which share.

    Returns
    -------
    int
        Rows that other shards have not filled yet, added up over stages; 0 when all is done,
        and at once for the shard that is everything, which `score` computes itself.
    """
    from instructmining.shard import WHOLE

    if shard == WHOLE:
        return 0
    how = scoring or Scoring()
    models = how.models()
    indicators = models.indicators(list(columns or how.columns))
    engine = open_engine(how, models, shard)
    return engine.fill(_examples(source), indicators, reference=_reference(how.knn_reference))


def score_if(
    source: Any,
    columns: Sequence[str] | None,
    scoring: Scoring | None,
    check: Callable[[Mapping[str, Definition]], object],
) -> ScoreTable:
    """Score as `score` does, unless `check`, given how the columns will be defined, raises."""
    how = scoring or Scoring()
    wanted = list(columns or how.columns)
    models = how.models()
    indicators = models.indicators(wanted)
    engine = open_engine(how, models)
    reference = _reference(how.knn_reference)
    check(engine.definitions(indicators, reference))
    return engine.score(_examples(source), indicators, columns=wanted, reference=reference)


def forecast(
    source: Any, columns: Sequence[str] | None = None, *, scoring: Scoring | None = None
) -> Forecast:
    """Say what `score` would run for a pool, and about how long that would take.

    The pool is read; no model is loaded or fetched.

    Parameters
    ----------
    source, columns, scoring
        As for `score`.

    Raises
    ------
    InputError
        As for `score`.
    """
    from instructmining.scoring.forecast import forecast as estimate
    from instructmining.scoring.rows import as_source

    how = scoring or Scoring()
    models = how.models()
    indicators = models.indicators(columns or how.columns)
    return estimate(as_source(_examples(source)), indicators, models)


def open_store(folder: Path | str | None = None) -> Store:
    """Return the score store in `folder`, a path or address, by default in the cache folder."""
    from instructmining.models.sources import cache_folder
    from instructmining.scoring.store import Store

    return Store(folder if folder is not None else cache_folder() / "store")


def open_engine(how: Scoring, models: Models | None = None, shard: Shard | None = None) -> Engine:
    """Return the engine that scores as `how` says, or with `models`, or a share of it."""
    from instructmining.scoring.engine import Engine, Silent
    from instructmining.shard import WHOLE

    return Engine(
        open_store(how.store),
        models or how.models(),
        how.progress or Silent(),
        shard or WHOLE,
        how.labour(),
    )


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
