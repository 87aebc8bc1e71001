"""What came of runs, as plain data in a file that knows whether it was changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instructmining.files import replacing
from instructmining.journal import sealed


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as it stands in a file: through JSON once, so that tuples are lists."""
    known: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return known


def save_sealed(document: Mapping[str, Any], path: Path, *, indent: int | None = 1) -> None:
    """Write a document as sealed JSON; an existing file is replaced only by a whole one."""
    with replacing(path) as temporary:
        text = json.dumps(sealed(document), indent=indent, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
