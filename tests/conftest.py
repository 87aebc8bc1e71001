"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

# Shared machines stall now and then; a slow example is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data that is not part of the repository; skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not present at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put a distribution with plugins on the path: name, source and entries, see `plugged`."""
    import plugged

    folder, before = tmp_path / "installed", set(sys.modules)
    folder.mkdir()
    with plugged.forgotten(), monkeypatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield partial(plugged.write_distribution, folder)
    for name in {path.stem for path in folder.glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run torch on one thread: on tiny models more only get in each other's way."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Start a Ray cluster of two cores on this machine, for all tests that want one."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    # What tests define has to be found by workers too.
    paths = os.pathsep.join(path for path in sys.path if path)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    yield
    ray.shutdown()
