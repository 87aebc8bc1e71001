"""The modules of the package, parsed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
PACKAGE = "instructmining"
ROOT = Path(__file__).resolve().parents[2] / "src" / PACKAGE


def room_of(name: str) -> str:
    """First part below the package; empty for the package itself."""
    return (name + "..").split(".")[1]


@dataclass(frozen=True)
class Module:
    """One source file; `name` is dotted, ``instructmining.scoring.store``."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def name(self) -> str:
        parts = self.path.relative_to(ROOT.parent).with_suffix("").parts
        return ".".join(parts[:-1] if self.is_package else parts)

    @property
    def room(self) -> str:
        return room_of(self.name)

    def functions(self) -> Iterator[Function]:
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node

    def imports(self, *, at_import_time: bool = False) -> set[str]:
        """Dotted names of the package that this module imports, wherever it does.

        Parameters
        ----------
        at_import_time : bool
            Leave out those inside functions and under ``TYPE_CHECKING``.
        """
        found: set[str] = set()
        for node in _nodes(self.tree, everywhere=not at_import_time):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.update(self._from(node))
        return {name for name in found if name.split(".")[0] == PACKAGE}

    def _from(self, node: ast.ImportFrom) -> set[str]:
        base = node.module or ""
        if node.level:
            parents = self.name.split(".")
            up = node.level - self.is_package
            base = ".".join([*parents[: len(parents) - up], *([base] if base else [])])
        # `from package import name` imports a module if there is one of that name.
        names = {f"{base}.{alias.name}" for alias in node.names}
        modules = {name for name in names if name in NAMES}
        return modules | ({base} if modules != names else set())


def _nodes(node: ast.AST, *, everywhere: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not everywhere:
            if isinstance(child, Function | ast.Lambda):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from (n for part in child.orelse for n in [part, *ast.walk(part)])
                continue
        yield child
        yield from _nodes(child, everywhere=everywhere)


MODULES = [Module(path) for path in sorted(ROOT.rglob("*.py"))]
NAMES = {module.name for module in MODULES}
