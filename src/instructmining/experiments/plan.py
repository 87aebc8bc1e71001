"""The plan of an experiment: what will be run, drawn and written down before it is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.mixtures import Mixture, MixtureRow
from instructmining.experiments.splits import PARTS, SALT, evaluation_part
from instructmining.files import replacing
from instructmining.formats import open_pool
from instructmining.overlap.words import NGRAM

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
        Rows in every mixture; in a comparison, rows of the method the budget is taken from.
    seeds : tuple of int
        Training seeds; every mixture is run once with each, unless `replicated` or the mixture
        itself says otherwise.
    draw_seed : int
        Seed of the mixtures.
    ngram : int
        Length in words of a run that counts as overlap with an evaluation set.
    replicated : int, optional
        Only so many mixtures, the first of the plan, are run with every seed, the others with
        the first: enough to tell noise from lack of fit, and the rest is spent on mixtures.
    """

    base_model: Mapping[str, Any]
    training: Mapping[str, Any]
    size: int
    seeds: tuple[int, ...] = (0,)
    draw_seed: int = 0
    ngram: int = NGRAM
    replicated: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the setting as it stands in a plan."""
        known = {**asdict(self), "seeds": list(self.seeds)}
        if self.replicated is None:
            # Plans were written before there was a choice; their hashes stay what they are.
            del known["replicated"]
        return known


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
    def runs(self) -> list[tuple[str, int]]:
        """Every run as (mixture, seed), in running order.

        All mixtures are run with the first seed before any with the second, so that a series
        cut short has seen every mixture. A mixture with seeds of its own waits for its turn.
        """
        first, *others = self.setting.seeds
        again = self.mixtures[: self.setting.replicated]
        rounds = [(first, self.mixtures), *((seed, again) for seed in others)]
        return [
            (mixture.name, seed)
            for seed, mixtures in rounds
            for mixture in mixtures
            if mixture.seeds is None or seed in mixture.seeds
        ]

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
            "setting": self.setting.to_json(),
            "mixtures": [mixture.to_json() for mixture in self.mixtures],
        }

    @classmethod
    def _from_payload(cls, payload: Mapping[str, Any]) -> Plan:
        setting = dict(payload["setting"])
        return cls(
            tuple(Source(**source) for source in payload["sources"]),
            tuple(EvaluationSet(**evaluation) for evaluation in payload["evaluations"]),
            Setting(**{**setting, "seeds": tuple(setting["seeds"])}),
            tuple(Mixture.from_json(mixture) for mixture in payload["mixtures"]),
        )


def training_examples(plan: Plan) -> dict[MixtureRow, Example]:
    """Read every row the plan's mixtures hold.

    Raises
    ------
    ExperimentError
        If a source no longer holds a row as it was when the plan was drawn.
    """
    return rows_of_sources(
        plan.sources, chain.from_iterable(mixture.rows for mixture in plan.mixtures)
    )


def rows_of_sources(
    sources: Iterable[Source], rows: Iterable[MixtureRow]
) -> dict[MixtureRow, Example]:
    """Read rows of sources.

    Raises
    ------
    ExperimentError
        If a source no longer holds a row as it was.
    """
    wanted: dict[str, dict[int, str]] = {}
    for row in rows:
        wanted.setdefault(row.source, {})[row.row] = row.digest
    found: dict[MixtureRow, Example] = {}
    for source in sources:
        missing = wanted.get(source.name, {})
        for example in open_pool(source.path).examples() if missing else ():
            if missing.get(example.row) == example.digest:
                found[MixtureRow(source.name, example.row, example.digest)] = example
                del missing[example.row]
        if missing:
            raise _changed(source.path, f"{len(missing)} planned rows (first: row {min(missing)})")
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
