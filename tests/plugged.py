"""Distributions with entry points, written by hand into a folder of the path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import invalidate_caches
from pathlib import Path

from instructmining import plugins
from instructmining.formats.shapes import added


def write_distribution(folder: Path, name: str, source: str, entries: dict[str, str]) -> None:
    """Write a distribution of one module.

    Parameters
    ----------
    folder : Path
        Where; has to be on the path.
    name : str
        Of the distribution; of its module with underscores.
    source : str
        Of the module.
    entries : dict of str to str
        ``"group/name"``, the group without its first word, to a name in the module.
    """
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for entry, value in entries.items():
        group, _, called = entry.partition("/")
        lines.append(f"[instructmining.{group}]\n{called} = {module}:{value}\n")
    (info / "entry_points.txt").write_text("".join(lines))
    forget()


def forget() -> None:
    """Have plugins looked for, imported and warned of anew."""
    invalidate_caches()
    for kept in (plugins.plugins, plugins._warn_once, added.added_shapes):
        kept.cache_clear()


@contextmanager
def forgotten() -> Iterator[None]:
    """Leave nothing of what is looked for meanwhile."""
    forget()
    try:
        yield
    finally:
        forget()
