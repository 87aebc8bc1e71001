"""From files to a plan: read the sources, leave out what may not be trained on, draw mixtures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.mixtures import Mixture, MixtureRow, SourcePool, draw
from instructmining.experiments.plan import (
    EvaluationSet,
    Plan,
    Setting,
    Source,
    content_hash,
)
from instructmining.experiments.specs import MixtureSpec
from instructmining.experiments.splits import evaluation_part
from instructmining.formats import open_pool
from instructmining.models.heads import load_heads
from instructmining.overlap.words import NGRAM, OverlapIndex


@dataclass(frozen=True)
class Materials:
    """What mixtures are drawn from, and what runs are measured on.

    Parameters
    ----------
    sources : tuple of Source
        By name, with what was left out of them.
    pools : mapping of str to SourcePool
        Source to the rows that may be trained on.
    evaluations : tuple of EvaluationSet
        As they were given.
    """

    sources: tuple[Source, ...]
    pools: Mapping[str, SourcePool]
    evaluations: tuple[EvaluationSet, ...]

    @property
    def rows(self) -> Iterator[MixtureRow]:
        """Every row that may enter a mixture, source by source."""
        for name, pool in sorted(self.pools.items()):
            for row in pool.rows:
                yield MixtureRow(name, row.row, row.digest)

    def sampled(self, per_source: int, seed: int) -> Materials:
        """Keep at most so many rows of each source, drawn by seeded hash; count the others."""
        pools = {name: pool.sampled(per_source, seed) for name, pool in self.pools.items()}
        sources = tuple(
            replace(source, excluded=dict(pools[source.name].excluded)) for source in self.sources
        )
        return Materials(sources, pools, self.evaluations)


def read_materials(
    sources: Mapping[str, str],
    evaluations: Sequence[tuple[str, str, str]],
    ngram: int = NGRAM,
    prompts: Sequence[Example] = (),
) -> Materials:
    """Read the sources and the evaluation sets.

    Parameters
    ----------
    sources : mapping of str to str
        Name to path, as `formats.open_pool` takes it.
    evaluations : sequence of (name, path, part)
        Sets to measure losses on. Rows overlapping any part of any of their files are left
        out of the pools, whatever part is named.
    ngram : int
        Length in words of a run that counts as overlap.
    prompts : sequence of Example
        Further rows that none of the pools may overlap.

    Raises
    ------
    ExperimentError
        If names repeat, a list is empty, or a part holds nothing.
    InputError
        If a file cannot be read.
    """
    _check_names("source", list(sources))
    _check_names("evaluation set", [name for name, _, _ in evaluations])
    files = {path: list(open_pool(path).examples()) for _, path, _ in evaluations}
    overlap = OverlapIndex.build(chain(*files.values(), prompts), ngram)
    sets = []
    for name, path, part in evaluations:
        chosen = evaluation_part(files[path], part, name=path)
        content = content_hash(example.digest for example in chosen)
        sets.append(EvaluationSet(name, path, part, len(chosen), content))
    trained_on = load_heads().trained_on
    read: list[Source] = []
    pools: dict[str, SourcePool] = {}
    for name in sorted(sources):
        examples = list(open_pool(sources[name]).examples())
        pool = SourcePool.from_examples(name, examples, overlap, trained_on)
        read.append(describe(name, sources[name], examples, pool))
        pools[name] = pool
    return Materials(tuple(read), pools, tuple(sets))


def describe(name: str, path: str, examples: Sequence[Example], pool: SourcePool) -> Source:
    """Return a file as a plan names it.

    Parameters
    ----------
    name, path : str
        What it is called, and where it was read.
    examples : sequence of Example
        All its rows.
    pool : SourcePool
        Those of them that may be trained on.
    """
    content = content_hash(example.digest for example in examples)
    return Source(name, path, len(examples), content, _file_hash(path), dict(pool.excluded))


def make_plan(
    materials: Materials,
    specs: Sequence[MixtureSpec],
    setting: Setting,
    designed: Sequence[Mixture] = (),
) -> Plan:
    """Draw the mixtures that are specified and put them behind those that are designed.

    Parameters
    ----------
    materials : Materials
        As `read_materials` gives them.
    specs : sequence of MixtureSpec
        Mixtures to draw; see `specs.parse_mixture` and `specs.random_specs`.
    setting : Setting
        Base model, training, size and seeds.
    designed : sequence of Mixture
        Mixtures that are drawn already; see `design.design_mixtures`.

    Raises
    ------
    ExperimentError
        If names repeat, there are no mixtures or seeds, or the sources hold too few usable
        rows.
    """
    _check_names("mixture", [*(m.name for m in designed), *(spec.name for spec in specs)])
    _check_names("training seed", [str(seed) for seed in setting.seeds])
    n = len(designed) + len(specs)
    if setting.replicated is not None and not 1 <= setting.replicated <= n:
        raise ExperimentError(
            f"{setting.replicated} mixtures to be run with every seed, the plan has {n}; "
            f"give from 1 to {n}"
        )
    drawn = [draw(spec, materials.pools, setting.size, setting.draw_seed) for spec in specs]
    return Plan(materials.sources, materials.evaluations, setting, (*designed, *drawn))


def _file_hash(path: str) -> str | None:
    if not Path(path).is_file():
        return None
    hasher = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def _check_names(what: str, names: Sequence[str]) -> None:
    if not names:
        raise ExperimentError(f"a plan without {what}; give at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ExperimentError(f"{what} {', '.join(twice)} given twice; give each another name")
