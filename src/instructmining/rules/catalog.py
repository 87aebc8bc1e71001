"""Rules that come with the package, by name."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from instructmining.errors import RuleError
from instructmining.rules.rule import Rule
from instructmining.rules.schema import read_document

_FOLDER = "published"


def list_rules() -> tuple[str, ...]:
    """Names of the rules that come with the package, sorted."""
    folder = files(__package__) / _FOLDER
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def load_rule(name_or_path: str | Path) -> Rule:
    """Load a rule by its name in the catalogue, or from a file.

    Parameters
    ----------
    name_or_path : str or Path
        A name `list_rules` gives goes before a file of that name; write ``./NAME`` for the file.

    Raises
    ------
    RuleError
        If it is neither, or the file is not a rule.
    """
    name = str(name_or_path)
    known = list_rules()
    if isinstance(name_or_path, str) and name in known:
        entry = files(__package__) / _FOLDER / f"{name}.json"
        return Rule.from_document(read_document(entry.read_text(encoding="utf-8"), f"rule {name}"))
    path = Path(name_or_path)
    if path.exists():
        return Rule.load(path)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise RuleError(
        f"{name}: neither a rule nor a file; {hint}rules are {', '.join(known)}; "
        "or give the path of a rule file"
    )
