"""A selection in parts on a cluster, in an object store and through the API."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import instructmining
from instructmining.cluster import Resources, each
from instructmining.errors import InputError, ModelError
from instructmining.folders import DiskFolder, open_folder
from instructmining.parts import select as module
from instructmining.parts.job import Wanted
from instructmining.parts.pool import list_parts
from instructmining.parts.select import Workers, select_parts
from instructmining.selection.budget import Rows, Tokens
from instructmining.selection.quota import parse_quota
from objects import s3_server
from parts.pools import MadePool, a_rule, make_pool

LIMITS = Wanted(Tokens(500), parse_quota("task=task 1:40%"))


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch):
    monkeypatch.setattr(module, "_BUCKET_ROWS", 20)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what a selection wrote."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def here(pool: MadePool) -> dict[str, bytes]:
    """Select in this process; return what was written."""
    select_parts(pool.parts, a_rule(), LIMITS, DiskFolder(pool.folder / "here"))
    return contents(pool.folder / "here")


@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_write_what_one_process_does(tmp_path):
    pool = make_pool(tmp_path, [30, 20, 25], 1)
    workers = Workers(Resources.share(2))
    select_parts(pool.parts, a_rule(), LIMITS, DiskFolder(tmp_path / "there"), workers=workers)
    assert contents(tmp_path / "there") == here(pool)


def _mortal(given: tuple[Path, int]) -> int:
    """Kill the worker at the first call for number 3."""
    mark, number = given
    if number == 3 and not mark.exists():
        mark.touch()
        os._exit(1)
    return number**2


def _fatal(number: int) -> int:
    os._exit(1)


def _wrong(number: int) -> int:
    raise InputError(f"part {number}: is not what it was")


@pytest.mark.usefixtures("ray_cluster")
def test_tasks_of_a_worker_that_dies_are_made_again(tmp_path):
    given = [(tmp_path / "mark", number) for number in range(7)]
    assert [*each(_mortal, given, Resources.share(2))] == [n**2 for n in range(7)]
    assert (tmp_path / "mark").exists()


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_task_raises_is_raised_here():
    with pytest.raises(InputError, match="part 0: is not what it was"):
        [*each(_wrong, range(3), Resources.share(2))]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_task_that_kills_every_worker_is_an_error_of_one_line():
    with pytest.raises(ModelError, match="killed every worker"):
        [*each(_fatal, range(1), Resources.share(2))]


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("moto", reason="moto is not installed")
    with s3_server() as running:
        yield running


def test_pool_scores_and_output_may_lie_in_an_object_store(tmp_path, server):
    pool = make_pool(tmp_path, [30, 20, 25], 1)
    wanted = here(pool)
    store = open_folder(server.folder("pool"))
    for path in (tmp_path / "pool").iterdir():
        store.write(path.name, path.read_bytes())
    address, mark, query = server.folder("pool").partition("?")
    parts = list_parts(f"{address}/*.jsonl{mark}{query}", store, {})
    assert [part.name for part in parts] == [part.name for part in pool.parts]
    server.faults.every, server.faults.refused = 40, 0
    output = open_folder(server.folder("output"))
    select_parts(parts, a_rule(), LIMITS, output)
    server.faults.every = 0
    names = output.names("")
    assert dict(zip(names, output.read_all(names), strict=True)) == wanted
    assert output.below(".parts").names("") == []
    assert server.faults.refused > 2


def test_the_api_writes_a_folder_that_says_that_it_is_whole(tmp_path):
    make_pool(tmp_path, [30, 20], 1)
    pattern, scores = tmp_path / "pool" / "*.jsonl", tmp_path / "pool"
    found = instructmining.select_parts(
        pattern, tmp_path / "out", a_rule(), scores=scores, keep=0.1, quota="task"
    )
    told = json.loads((tmp_path / "out" / "selection.json").read_text())
    assert told["params"]["kept_rows"] == found.selection.n_kept == 5
    assert [one["rows"] for one in told["parts"]] == [30, 20]
    assert sum(told["reasons"].values()) == 50
    assert {*found.files} == {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="holds a selection already"):
        instructmining.select_parts(pattern, tmp_path / "out", a_rule(), scores=scores, keep=3)
    for same in (tmp_path / "pool", f"{tmp_path}/pool/"):
        with pytest.raises(InputError, match="is the folder of the pool"):
            instructmining.select_parts(pattern, same, a_rule(), scores=scores, keep=3)


def test_a_selection_that_stopped_is_made_again(tmp_path, monkeypatch):
    pool = make_pool(tmp_path, [30, 20], 1)
    pattern, scores, out = tmp_path / "pool" / "*.jsonl", tmp_path / "pool", tmp_path / "out"

    def stop(job, ruling, index):
        if index:
            raise KeyboardInterrupt
        return decide(job, ruling, index)

    decide = module.decide
    monkeypatch.setattr(module, "decide", stop)
    with pytest.raises(KeyboardInterrupt):
        instructmining.select_parts(pattern, out, a_rule(), scores=scores, keep=9)
    assert not (out / "selection.json").exists()
    monkeypatch.setattr(module, "decide", decide)
    instructmining.select_parts(pattern, out, a_rule(), scores=scores, keep=9)
    select_parts(pool.parts, a_rule(), Wanted(Rows(9)), DiskFolder(tmp_path / "fresh"))
    written = contents(out)
    del written["selection.json"]
    assert written == contents(tmp_path / "fresh")
