"""Pools in an object store."""

from __future__ import annotations

from pathlib import Path

import pytest

from instructmining.errors import InputError
from instructmining.folders import open_folder
from instructmining.formats import open_pool
from objects import BUCKET, s3_server
from texts import write_pool

pytest.importorskip("moto", reason="moto is not installed")


@pytest.fixture(scope="module")
def server():
    with s3_server() as running:
        yield running


@pytest.fixture
def pool(server, tmp_path):
    """A pool on the disk, and the address of its copy."""
    path = write_pool(tmp_path / "pool.jsonl", 40, letters="abcdef", seed=1)
    open_folder(server.folder("pools")).write("pool.jsonl", Path(path).read_bytes())
    return path, server.folder("pools").replace("pools?", "pools/pool.jsonl?")


def test_rows_are_those_of_the_file(pool):
    path, address = pool
    assert [*open_pool(address).examples()] == [*open_pool(path).examples()]
    assert [*open_pool(address).read([7, 3])] == [*open_pool(path).read([7, 3])]


def test_what_is_selected_is_what_came(pool, tmp_path, server):
    server.faults.every = 4
    kept = []
    for source in pool:
        open_pool(source).write(range(0, 40, 4), tmp_path / "kept.jsonl")
        kept.append((tmp_path / "kept.jsonl").read_bytes())
    server.faults.every = 0
    assert kept[0] == kept[1]
    assert len(kept[0].splitlines()) == 10


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.jsonl", "there is no such file"), ("", "no file is named")],
)
def test_what_is_not_there_is_said(server, name, said):
    with pytest.raises(InputError, match=said) as error:
        open_pool(server.folder("pools").replace("pools?", f"pools/{name}?"))
    assert BUCKET in str(error.value)
    assert "endpoint" not in str(error.value)
