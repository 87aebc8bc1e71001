"""Shapes of records: every file of this folder that defines ``SHAPE``, then those of plugins."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from instructmining.formats.shapes.added import added_shapes, shape_added
from instructmining.formats.shapes.base import Reading, Shape

__all__ = ["SHAPES", "Reading", "Shape", "every_shape", "shape_named"]


def _found() -> tuple[Shape, ...]:
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    shapes = [module.SHAPE for module in modules if hasattr(module, "SHAPE")]
    return tuple(sorted(shapes, key=lambda shape: (shape.order, shape.name)))


#: Our own shapes, in the order in which they are tried on a record.
SHAPES = _found()
_OWN = {shape.name: shape for shape in SHAPES}


def every_shape() -> Iterator[Shape]:
    """Yield our own shapes, then those of plugins, which are imported only if they are reached.

    A plugin that cannot be used is passed over with a warning.
    """
    yield from SHAPES
    yield from added_shapes(tuple(_OWN))


def shape_named(name: str) -> Shape:
    """Return the shape of that name, in any case.

    Raises
    ------
    InputError
        If there is none, or it is a plugin's and cannot be used.
    """
    return _OWN.get(name.lower()) or shape_added(name, tuple(_OWN))
