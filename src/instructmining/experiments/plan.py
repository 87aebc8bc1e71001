"""The plan of an experiment: what will be run, drawn and written down before it is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.mixtures import (
    Mixture,
    MixtureRow,
    SourcePool,
    draw,
)
from instructmining.experiments.overlap import NGRAM, OverlapIndex
from instructmining.experiments.specs import MixtureSpec
from instructmining.experiments.splits import PARTS, SALT, evaluation_part
from instructmining.files import replacing
from instructmining.formats import open_pool
from instructmining.models.heads import load_heads

#: Version of the JSON layout; a plan of another version is refused.
SCHEMA = 1


@dataclass(frozen=True)
class Source:
    """A file mixtures are drawn from.

    Parameters
    ----------
    name : str
        What mixtures and the run log call it.
    path : str
        Where it was read.
    n_rows : int
        All its rows.
    content : str
        SHA-256 over the content hashes of its rows, in order: the same for the same
        records in another file format.
    sha256 : str or None
        SHA-256 of the file; None for a folder or a hub data set.
    excluded : mapping of str to int
        Reason to number of rows that no mixture may hold.
    """

    name: str
    path: str
    n_rows: int
    content: str
    sha256: str | None = None
    excluded: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationSet:
    """A part of an evaluation file on which losses are logged.

    Parameters
    ----------
    name : str
        What the run log calls it.
    path : str
        Where it was read.
    part : str
        Name of the part, or ``"all"``.
    n : int
        Number of examples in the part.
    content : str
        SHA-256 over the content hashes of these examples, in order.
    parts : mapping of str to int
        The parts the file is split into; see `splits.assign_parts`.
    salt : str
        Salt of the split.
    """

    name: str
    path: str
    part: str
    n: int
    content: str
    parts: Mapping[str, int] = field(default_factory=lambda: dict(PARTS))
    salt: str = SALT


@dataclass(frozen=True)
class Setting:
    """What all runs of a plan share.

    Parameters
    ----------
    base_model : mapping
        ``name`` and, where known, ``weights`` (SHA-256).
    training : mapping
        Method, rate, epochs and whatever else decides the training; JSON values.
    size : int
        Rows in every mixture.
    seeds : tuple of int
        Training seeds; every mixture is run once with each.
    draw_seed : int
        Seed of the mixtures.
    ngram : int
        Length in words of a run that counts as overlap with an evaluation set.
    """

    base_model: Mapping[str, Any]
    training: Mapping[str, Any]
    size: int
    seeds: tuple[int, ...] = (0,)
    draw_seed: int = 0
    ngram: int = NGRAM


@dataclass(frozen=True)
class Plan:
    """Everything the runs of an experiment need, and nothing they decide.

    Parameters
    ----------
    sources : tuple of Source
        Files the mixtures are drawn from, by name.
    evaluations : tuple of EvaluationSet
        What losses are measured on.
    setting : Setting
        Base model, training, size and seeds.
    mixtures : tuple of Mixture
        The mixtures, each with its rows.
    """

    sources: tuple[Source, ...]
    evaluations: tuple[EvaluationSet, ...]
    setting: Setting
    mixtures: tuple[Mixture, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds."""
        return self.setting.seeds

    @cached_property
    def hash(self) -> str:
        """SHA-256 over all that decides the losses; paths and file formats do not."""
        matters = self._payload()
        for source in matters["sources"]:
            for key in ("path", "sha256", "excluded"):
                del source[key]
        for evaluation in matters["evaluations"]:
            del evaluation["path"]
        for mixture in matters["mixtures"]:
            del mixture["spec"]
        if "weights" in self.setting.base_model:
            # The same weights may be named by a path.
            matters["setting"]["base_model"] = {"weights": self.setting.base_model["weights"]}
        text = json.dumps(matters, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the plan as JSON; an existing file is replaced only by a whole one."""
        payload = {"schema": SCHEMA, "hash": self.hash, **self._payload()}
        with replacing(path) as temporary:
            temporary.write_text(_pretty(payload), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan written by `save`.

        Raises
        ------
        ExperimentError
            If the file cannot be read, is no plan, is of another version, or was changed.
        """
        remedy = "write one with `instructmining experiment plan`"
        try:
            payload = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ExperimentError(
                f"{path}: plan cannot be read ({error.strerror or error}); {remedy}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise ExperimentError(f"{path}: plan is not JSON ({error}); {remedy}") from error
        if not isinstance(payload, dict) or "schema" not in payload:
            raise ExperimentError(f"{path}: JSON, but not a plan; {remedy}")
        if payload["schema"] != SCHEMA:
            raise ExperimentError(
                f"{path}: plan of version {payload['schema']!r}, wanted {SCHEMA}; {remedy}"
            )
        try:
            plan = cls._from_payload(payload)
            intact = plan.hash == payload["hash"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ExperimentError(
                f"{path}: plan is incomplete or malformed ({error!r}); {remedy}"
            ) from error
        if not intact:
            raise ExperimentError(
                f"{path}: plan was changed after it was drawn (its hash does not fit); {remedy}"
            )
        return plan

    def _payload(self) -> dict[str, Any]:
        return {
            "sources": [asdict(source) for source in self.sources],
            "evaluations": [asdict(evaluation) for evaluation in self.evaluations],
            "setting": {**asdict(self.setting), "seeds": list(self.setting.seeds)},
            "mixtures": [
                {
                    "name": mixture.name,
                    "spec": mixture.spec,
                    "shares": dict(mixture.shares),
                    "rows": [list(row) for row in mixture.rows],
                }
                for mixture in self.mixtures
            ],
        }

    @classmethod
    def _from_payload(cls, payload: Mapping[str, Any]) -> Plan:
        setting = dict(payload["setting"])
        return cls(
            tuple(Source(**source) for source in payload["sources"]),
            tuple(EvaluationSet(**evaluation) for evaluation in payload["evaluations"]),
            Setting(**{**setting, "seeds": tuple(setting["seeds"])}),
            tuple(
                Mixture(
                    mixture["name"],
                    tuple(MixtureRow(*row) for row in mixture["rows"]),
                    mixture["shares"],
                    mixture["spec"],
                )
                for mixture in payload["mixtures"]
            ),
        )


def make_plan(
    sources: Mapping[str, str],
    evaluations: Sequence[tuple[str, str, str]],
    specs: Sequence[MixtureSpec],
    setting: Setting,
) -> Plan:
    """Read the sources, leave out what may not be trained on, and draw the mixtures.

    Parameters
    ----------
    sources : mapping of str to str
        Name to path, as `formats.open_pool` takes it.
    evaluations : sequence of (name, path, part)
        Sets to measure losses on. Rows overlapping any part of any of their files enter no
        mixture, whatever part is named.
    specs : sequence of MixtureSpec
        Mixtures to draw; see `specs.parse_mixture` and `specs.random_specs`.
    setting : Setting
        Base model, training, size and seeds.

    Raises
    ------
    ExperimentError
        If names repeat, a list is empty, or the sources hold too few usable rows.
    InputError
        If a file cannot be read.
    """
    _check_names("source", list(sources))
    _check_names("evaluation set", [name for name, _, _ in evaluations])
    _check_names("mixture", [spec.name for spec in specs])
    _check_names("training seed", [str(seed) for seed in setting.seeds])
    files = {path: list(open_pool(path).examples()) for _, path, _ in evaluations}
    overlap = OverlapIndex.build(chain.from_iterable(files.values()), setting.ngram)
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
        content = content_hash(example.digest for example in examples)
        sha256 = _file_hash(sources[name])
        read.append(
            Source(name, sources[name], len(examples), content, sha256, dict(pool.excluded))
        )
        pools[name] = pool
    mixtures = tuple(draw(spec, pools, setting.size, setting.draw_seed) for spec in specs)
    return Plan(tuple(read), tuple(sets), setting, mixtures)


def training_examples(plan: Plan) -> dict[MixtureRow, Example]:
    """Read every row the plan's mixtures hold.

    Raises
    ------
    ExperimentError
        If a source no longer holds a row as it was when the plan was drawn.
    """
    wanted: dict[str, dict[int, str]] = {source.name: {} for source in plan.sources}
    for row in chain.from_iterable(mixture.rows for mixture in plan.mixtures):
        wanted[row.source][row.row] = row.digest
    found: dict[MixtureRow, Example] = {}
    for source in plan.sources:
        rows = wanted[source.name]
        for example in open_pool(source.path).examples() if rows else ():
            if rows.get(example.row) == example.digest:
                found[MixtureRow(source.name, example.row, example.digest)] = example
                del rows[example.row]
        if rows:
            raise _changed(source.path, f"{len(rows)} planned rows (first: row {min(rows)})")
    return found


def evaluation_examples(plan: Plan) -> dict[str, list[Example]]:
    """Read the evaluation sets of the plan, by name.

    Raises
    ------
    ExperimentError
        If a file no longer holds the examples it held when the plan was drawn.
    """
    found: dict[str, list[Example]] = {}
    for wanted in plan.evaluations:
        examples = open_pool(wanted.path).examples()
        chosen = evaluation_part(
            examples, wanted.part, wanted.parts, name=wanted.path, salt=wanted.salt
        )
        if content_hash(example.digest for example in chosen) != wanted.content:
            raise _changed(wanted.path, f"the evaluation set {wanted.name}")
        found[wanted.name] = chosen
    return found


def content_hash(digests: Iterable[str]) -> str:
    """Hexadecimal SHA-256 over content hashes, in order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _changed(path: str, what: str) -> ExperimentError:
    return ExperimentError(
        f"{path}: changed since the plan was drawn, it no longer holds {what}; "
        "restore the file or draw a new plan"
    )


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


def _pretty(payload: Mapping[str, Any]) -> str:
    # One line per source, evaluation set and mixture: short to read, and diffs stay local.
    fields = []
    for key, value in payload.items():
        if isinstance(value, list):
            items = ",\n".join(f"  {json.dumps(item)}" for item in value)
            fields.append(f'"{key}": [\n{items}\n]')
        else:
            fields.append(f'"{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(fields) + "\n}\n"
