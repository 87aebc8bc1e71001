"""Shapes of records. Every file of this folder that defines ``SHAPE`` is one: no list to edit."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules

from instructmining.errors import InputError
from instructmining.formats.shapes.base import Reading, Shape

__all__ = ["SHAPES", "Reading", "Shape", "shape_named"]


def _found() -> tuple[Shape, ...]:
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    shapes = [module.SHAPE for module in modules if hasattr(module, "SHAPE")]
    return tuple(sorted(shapes, key=lambda shape: (shape.order, shape.name)))


#: All shapes, in the order in which they are tried on a record.
SHAPES = _found()


def shape_named(name: str) -> Shape:
    """Return the shape of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    names = [shape.name for shape in SHAPES]
    if name.lower() in names:
        return SHAPES[names.index(name.lower())]
    near = get_close_matches(name, names, n=1)
    guess = f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"
    raise InputError(f"format {name!r} is not known; {guess}")
