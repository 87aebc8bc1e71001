"""Read instruction data in any common format to Examples; write its rows back as they came.

Two questions are kept apart. Where do the records stand? A *container* answers: one
file here per kind (JSON array, JSON Lines, Parquet, ...). What do the fields of a
record mean? A *shape* answers: one file per family in ``shapes/`` (Alpaca, ShareGPT,
...). Both are detected from the data. A new shape is one new file in ``shapes/``, or
a plugin.

No file format library is imported before a file of that format is opened.
"""

from __future__ import annotations

from instructmining.formats.flags import FLAGS
from instructmining.formats.pool import Pool, open_pool, open_prompts

__all__ = ["FLAGS", "Pool", "open_pool", "open_prompts"]
