"""What an output was made from and with, beside it; and whether that still holds."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from instructmining.errors import InputError
from instructmining.files import MANIFEST

#: Version of the layout of a manifest.
SCHEMA = 1
#: Packages whose versions can decide a result.
_PACKAGES = ("instructmining", "numpy", "polars", "tokenizers", "torch", "transformers", "peft")


@dataclass(frozen=True)
class Finding:
    """A file a manifest names that is not what it was.

    Parameters
    ----------
    role : {"input", "output"}
        What it was.
    path : str
        As the manifest names it.
    what : {"missing", "changed"}
        What became of it.
    """

    role: str
    path: str
    what: str


def manifest_beside(output: Path | str) -> Path:
    """Where the manifest of an output stands: its name with ``.manifest.json`` appended."""
    path = Path(output)
    return path.with_name(path.name + MANIFEST)


def write_manifest(
    outputs: Sequence[Path],
    inputs: Iterable[Path | str | None],
    facts: Mapping[str, Any],
    command: Sequence[str] | None = None,
) -> Path:
    """Write down what outputs were made from and with; return where.

    Parameters
    ----------
    outputs : sequence of Path
        Files that were written; the manifest stands beside the first.
    inputs : iterable of path or None
        Files that were read; those that are no file (a hub data set) and None are passed over.
    facts : mapping
        Rule, models, seeds and whatever else decided the result; JSON values.
    command : sequence of str, optional
        The command line.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    from instructmining.experiments.outcome import save_sealed

    target = manifest_beside(outputs[0])
    read = dict.fromkeys(Path(one) for one in inputs if one is not None and Path(one).is_file())
    document = {
        "schema": SCHEMA,
        "command": list(command) if command is not None else None,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_versions()},
        "inputs": {_named(one, target): _described(one) for one in read},
        "outputs": {_named(one, target): _described(one) for one in outputs},
        "facts": dict(facts),
    }
    save_sealed(document, target)
    return target


def verify(path: Path | str) -> list[Finding]:
    """Compare the files a manifest names with what it says of them.

    Parameters
    ----------
    path : path
        A manifest, or an output that has one beside it.

    Returns
    -------
    list of Finding
        Files that are missing or changed, inputs first; empty if all is as it was.

    Raises
    ------
    InputError
        If there is no manifest, or it was changed itself.
    """
    given = Path(path)
    target = given if given.name.endswith(MANIFEST) else manifest_beside(given)
    document = read_manifest(target)
    return [
        Finding(role, name, what)
        for role in ("input", "output")
        for name, known in document[f"{role}s"].items()
        if (what := _changed(target.parent / name, known))
    ]


def read_manifest(target: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises
    ------
    InputError
        If there is none, or it was changed itself.
    """
    from instructmining.journal import is_intact

    try:
        document = json.loads(target.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{target}: cannot be read ({error.strerror or error}); name an output that has a "
            "manifest beside it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{target}: is not JSON ({error}); no manifest") from error
    if not isinstance(document, dict) or not {"inputs", "outputs"} <= document.keys():
        raise InputError(f"{target}: JSON, but no manifest")
    if not is_intact(document):
        raise InputError(f"{target}: the manifest itself was changed after it was written")
    return document


def _changed(path: Path, known: Mapping[str, Any]) -> str:
    if not path.is_file():
        return "missing"
    return "" if _described(path) == known else "changed"


def _described(path: Path) -> dict[str, Any]:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return {"sha256": hasher.hexdigest(), "bytes": path.stat().st_size}


def _named(path: Path, manifest: Path) -> str:
    """Name a file from the manifest's folder where it is in it, so that both may move together."""
    whole, folder = path.resolve(), manifest.parent.resolve()
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
