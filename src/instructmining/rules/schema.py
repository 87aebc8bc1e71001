"""The JSON form of a rule: written whole, read strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructmining.errors import RuleError
from instructmining.files import replacing
from instructmining.journal import SEAL, is_intact, sealed
from instructmining.rules.provenance import STATUSES, Provenance
from instructmining.rules.transforms import TRANSFORMS

SCHEMA_VERSION = 1

_NUMBER = (int, float)
_RULE_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "description": (str,),
    "status": (str,),
    "n_runs": (int,),
    "n_mixtures": (int,),
    "r2": _NUMBER,
    "loo_r2": _NUMBER,
    "estimation": (dict,),
    "choice": (dict,),
    "vif": (dict,),
    "covariance": (dict,),
    "base_model": (dict,),
    "training": (dict,),
    "evaluation": (dict,),
    "dependent_variable": (dict,),
    "seeds": (list,),
    "source": (str,),
    "notes": (list,),
}
_COLUMN_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "coefficient": _NUMBER,
    "transform": (str,),
    "definition": (dict,),
    "range": (list,),
    "quartiles": (list,),
}


@dataclass(frozen=True)
class RuleDocument:
    """A rule as plain data; `columns`, `transforms` and `coefficients` run in parallel."""

    columns: tuple[str, ...]
    transforms: tuple[str, ...]
    coefficients: tuple[float, ...]
    intercept: float
    provenance: Provenance

    def to_json(self) -> dict[str, Any]:
        """Give the document with every key, unknown values as None."""
        provenance = self.provenance
        columns = [
            {
                "name": name,
                "coefficient": coefficient,
                "transform": transform,
                "definition": dict(provenance.definitions.get(name, {})),
                "range": _list_or_none(provenance.ranges.get(name)),
                "quartiles": _list_or_none(provenance.quartiles.get(name)),
            }
            for name, transform, coefficient in zip(
                self.columns, self.transforms, self.coefficients, strict=True
            )
        ]
        rest = {key: getattr(provenance, key) for key in _RULE_KEYS}
        head = {key: rest.pop(key) for key in ("name", "description", "status")}
        rest["seeds"] = _list_or_none(rest["seeds"])
        rest["notes"] = list(rest["notes"])
        return {
            "schema": SCHEMA_VERSION,
            **head,
            "intercept": self.intercept,
            "columns": columns,
            **rest,
        }

    def save(self, path: Path) -> None:
        """Write the document to `path`; an existing file is replaced only by a whole one."""
        document = sealed(self.to_json())
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def read_document(text: str, where: str) -> RuleDocument:
    """Read the JSON of a rule.

    Parameters
    ----------
    text : str
        What the file holds.
    where : str
        The file's name, for error messages.

    Raises
    ------
    RuleError
        If it is not JSON, of another schema version, has unknown, missing or unfit values, or
        was changed after it was written.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RuleError(f"{where}: not JSON ({error}); a rule file was wanted") from error
    if not isinstance(document, dict) or "schema" not in document:
        raise RuleError(f"{where}: JSON, but not a rule; write one with `instructmining fit`")
    if document["schema"] != SCHEMA_VERSION:
        raise RuleError(
            f"{where}: rule of schema {document['schema']!r}, this version reads "
            f"{SCHEMA_VERSION}; refit it, or use the version of instructmining that wrote it"
        )
    if not is_intact(document):
        raise RuleError(
            f"{where}: was changed after it was written (its {SEAL} does not fit); fit it again, "
            f"or, if the change is meant, remove the key {SEAL}"
        )
    keys = {
        "schema": (int,),
        "intercept": _NUMBER,
        "columns": (list,),
        SEAL: (str,),
        **_RULE_KEYS,
    }
    _require(document, keys, {"name", "status", "intercept", "columns"}, where)
    if document["status"] not in STATUSES:
        raise RuleError(
            f"{where}: status is {document['status']!r}; one of {', '.join(STATUSES)} was wanted"
        )
    return _document(document, where)


def _document(document: Mapping[str, Any], where: str) -> RuleDocument:
    columns: list[dict[str, Any]] = document["columns"]
    for column in columns:
        if not isinstance(column, dict):
            raise RuleError(f"{where}: columns holds {column!r}; an object per column was wanted")
        place = f"{where}: column {column.get('name')!r}"
        _require(column, _COLUMN_KEYS, {"name", "coefficient"}, place)
        if (column.get("transform") or "identity") not in TRANSFORMS:
            raise RuleError(
                f"{place}: transform {column['transform']!r} is unknown; "
                f"one of {', '.join(TRANSFORMS)} was wanted"
            )
        for key, length in (("range", 2), ("quartiles", 3)):
            if column.get(key) is not None:
                _require_ascending(column[key], length, f"{place}: {key}")
    names = tuple(column["name"] for column in columns)
    if not names or len(set(names)) < len(names):
        raise RuleError(f"{where}: columns are {list(names)}; at least one, each once, was wanted")
    provenance = {key: document[key] for key in _RULE_KEYS if document.get(key) is not None}
    for key in ("seeds", "notes"):
        if key in provenance:
            provenance[key] = tuple(provenance[key])
    return RuleDocument(
        columns=names,
        transforms=tuple(column.get("transform") or "identity" for column in columns),
        coefficients=tuple(float(column["coefficient"]) for column in columns),
        intercept=float(document["intercept"]),
        provenance=Provenance(
            definitions={column["name"]: column.get("definition") or {} for column in columns},
            ranges=_known(columns, "range"),
            quartiles=_known(columns, "quartiles"),
            **provenance,
        ),
    )


def _require(
    document: Mapping[str, Any],
    keys: Mapping[str, tuple[type, ...]],
    needed: set[str],
    where: str,
) -> None:
    """Refuse unknown keys, missing or null needed ones, and values of another type."""
    unknown = sorted(document.keys() - keys.keys())
    if unknown:
        raise RuleError(
            f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(keys))}"
        )
    missing = sorted(key for key in needed if document.get(key) is None)
    if missing:
        raise RuleError(f"{where}: {', '.join(missing)} is missing or null; give it a value")
    for key, value in document.items():
        if value is None:
            continue
        fits = isinstance(value, keys[key]) and not isinstance(value, bool)
        if not fits or (isinstance(value, float) and not math.isfinite(value)):
            wanted = " or ".join(kind.__name__ for kind in keys[key])
            raise RuleError(f"{where}: {key} is {value!r}; a finite {wanted} was wanted")


def _require_ascending(values: list[Any], length: int, where: str) -> None:
    numbers = [value for value in values if isinstance(value, _NUMBER)]
    if len(values) != length or len(numbers) != length or sorted(numbers) != numbers:
        raise RuleError(f"{where} is {values!r}; {length} ascending numbers were wanted")


def _known(columns: Iterable[Mapping[str, Any]], key: str) -> dict[str, Any]:
    return {column["name"]: tuple(column[key]) for column in columns if column.get(key)}


def _list_or_none(values: Iterable[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)
