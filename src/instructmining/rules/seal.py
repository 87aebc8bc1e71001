"""JSON objects that carry a hash of themselves, so that a flipped bit does not pass for data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Key under which the hash stands.
SEAL = "sha256"


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with the hash of the rest of it as its last key.

    Parameters
    ----------
    document : mapping
        What JSON can hold.
    """
    return {**document, SEAL: _hash(document)}


def is_intact(document: Mapping[str, Any]) -> bool:
    """Tell whether a document holds what it was sealed with.

    Spacing and order of keys do not matter. One without a seal was written by hand, or by a
    version that gave none, and counts as intact.
    """
    return SEAL not in document or document[SEAL] == _hash(document)


def _hash(document: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in document.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
