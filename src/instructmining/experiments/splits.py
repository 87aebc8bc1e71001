"""Fixed parts of an evaluation file, decided by its prompts alone.

A prompt used to choose a setting must never be used to fit a rule, and one used to fit
must never be reported on. Each distinct prompt is therefore given one part, from the
hash of its normalised text: the order of the file, its format and the answers in it do
not matter, so another system's answers to the same prompts fall in the same parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType

from instructmining.errors import ExperimentError
from instructmining.examples import Example, normalise, normalised_prompt

#: What may be fitted on, and what is reported.
FIT, REPORT = "fit", "report"
#: Sizes of the parts for the 252 user-oriented prompts; other files are cut in proportion.
PARTS: Mapping[str, int] = MappingProxyType({"pilot": 60, FIT: 96, REPORT: 96})
#: The part that is the whole file.
ALL = "all"
#: Changing the salt changes every split, so it is recorded wherever a part is named.
SALT = "instructmining-evaluation-1"


def prompt_hash(prompt: str, salt: str = SALT) -> str:
    """Hexadecimal SHA-256 of `salt` and an already normalised `prompt`."""
    text = f"{salt}\0{prompt}"
    # Lone surrogates occur in real files and have no UTF-8 form of their own.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def assign_parts(
    prompts: Iterable[str], parts: Mapping[str, int] = PARTS, *, salt: str = SALT
) -> dict[str, str]:
    """Give every distinct prompt one part.

    Parameters
    ----------
    prompts : iterable of str
        Normalised prompts; repetitions and order have no effect.
    parts : mapping of str to int
        Part to size, in the order of assignment. Sizes are met exactly when they add up
        to the number of distinct prompts, and kept in proportion otherwise.
    salt : str
        Enters every hash; another salt is another split.

    Returns
    -------
    dict of str to str
        Prompt to part, in the order of the hashes.
    """
    _check_parts(parts)
    ordered = sorted(set(prompts), key=lambda prompt: prompt_hash(prompt, salt))
    total = sum(parts.values())
    # Cumulative bounds rounded half up: no prompt is lost or given twice at any file size.
    bounds = [
        (2 * len(ordered) * size + total) // (2 * total) for size in accumulate(parts.values())
    ]
    assigned: dict[str, str] = {}
    start = 0
    for part, stop in zip(parts, bounds, strict=True):
        assigned.update(dict.fromkeys(ordered[start:stop], part))
        start = stop
    return assigned


def evaluation_part(
    examples: Iterable[Example],
    part: str,
    parts: Mapping[str, int] = PARTS,
    *,
    name: str = "evaluation file",
    prompts: Iterable[str] | None = None,
    salt: str = SALT,
) -> list[Example]:
    """Pick the examples of one part, in the order they came.

    Parameters
    ----------
    examples : iterable of Example
        All rows of the evaluation file. Rows without a response are left out of the part,
        yet their prompts take part in the split.
    part : str
        One of `parts`, or ``"all"``.
    parts : mapping of str to int
        As in `assign_parts`.
    name : str
        What error messages call the file.
    prompts : iterable of str, optional
        The prompts that define the split, when `examples` holds only some of them (answers
        of a system that skipped a few); by default those of `examples`.
    salt : str
        As in `assign_parts`.

    Raises
    ------
    ExperimentError
        If the part is unknown or empty, or a prompt is not among `prompts`.
    """
    rows = list(examples)
    if part == ALL:
        chosen = rows
    elif part not in parts:
        known = ", ".join([*parts, ALL])
        raise ExperimentError(f"{name}: no part {part!r}; parts are {known}")
    else:
        keys = [normalised_prompt(example.turns) for example in rows]
        reference = keys if prompts is None else [normalise(prompt) for prompt in prompts]
        assigned = assign_parts(reference, parts, salt=salt)
        _check_known(rows, keys, assigned, name)
        chosen = [row for row, key in zip(rows, keys, strict=True) if assigned[key] == part]
    chosen = [example for example in chosen if example.scorable]
    if not chosen:
        raise ExperimentError(
            f"{name}: part {part!r} holds no row with a response ({len(rows)} rows in the file); "
            f"give a larger file or use part {ALL!r}"
        )
    return chosen


def _check_parts(parts: Mapping[str, int]) -> None:
    if not parts or any(size <= 0 for size in parts.values()) or ALL in parts:
        raise ExperimentError(
            f"parts {dict(parts)} cannot split a file; "
            f"give each part a size above 0 and a name other than {ALL!r}"
        )


def _check_known(
    rows: Sequence[Example], keys: Sequence[str], assigned: Mapping[str, str], name: str
) -> None:
    for row, key in zip(rows, keys, strict=True):
        if key not in assigned:
            raise ExperimentError(
                f"{name}: row {row.row} has a prompt outside the reference list of "
                f"{len(assigned)} prompts, so it has no part; remove it or extend the list"
            )
