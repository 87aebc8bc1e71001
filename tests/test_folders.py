"""Folders on a disk and in an object store keep the same promises."""

from __future__ import annotations

import os
import pickle
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from instructmining.errors import InputError, StoreError
from instructmining.folders import DiskFolder, HierarchyFolder, ObjectFolder, open_folder
from instructmining.formats import open_pool
from objects import s3_server

pytest.importorskip("moto", reason="moto is not installed")
_numbers = count()


def hierarchy(path: Path) -> HierarchyFolder:
    """A folder as on HDFS, of a file system that shows files while they are written too."""
    from pyarrow.fs import LocalFileSystem

    return HierarchyFolder(LocalFileSystem(), str(path), str(path))


@pytest.fixture(scope="module")
def server():
    with s3_server() as running:
        yield running


@pytest.fixture(params=["disk", "s3", "hierarchy"])
def folder(request, tmp_path, server):
    server.faults.every = 0
    if request.param == "disk":
        return open_folder(tmp_path / "new")
    if request.param == "hierarchy":
        return hierarchy(tmp_path / "new")
    return open_folder(server.folder(f"new-{next(_numbers)}"))


def test_what_is_written_is_read(folder):
    assert folder.names(".x") == []
    assert not folder.has("a.x")
    contents = {f"{n:03}.x": bytes([n]) * n * 1000 for n in range(60)}
    for name, content in contents.items():
        folder.write(name, content)
    folder.write("other.y", b"")
    assert folder.names(".x") == [*contents]
    assert folder.names(".y") == ["other.y"]
    assert [*folder.read_all(folder.names(".x"))] == [*contents.values()]
    assert folder.has("059.x")


def test_what_is_gone_is_nothing(folder):
    folder.write("a.x", b"1")
    folder.write("b.x", b"2")
    folder.remove(["a.x", "a.x", "never.x"])
    assert folder.names(".x") == ["b.x"]
    assert [*folder.read_all(["a.x", "b.x"])] == [None, b"2"]


def test_a_file_is_replaced_whole(folder):
    folder.write("a.x", b"long " * 1000)
    folder.write("a.x", b"short")
    assert [*folder.read_all(["a.x"])] == [b"short"]


def test_folders_below_do_not_mix(folder):
    folder.below("one").write("a.x", b"1")
    folder.below("two").write("a.x", b"2")
    assert folder.names(".x") == []
    assert [*folder.below("two").read_all(["a.x"])] == [b"2"]
    assert str(folder.below("two")) != str(folder)


def test_a_folder_travels_to_another_process(folder):
    folder.below("one").write("a.x", b"1")
    away = pickle.loads(pickle.dumps(folder.below("one")))
    assert [*away.read_all(away.names(".x"))] == [b"1"]
    away.below("two").write("a.x", b"2")
    assert folder.below("one").below("two").has("a.x")


def test_files_come_and_go_as_files_of_a_disk(folder):
    with folder.placing("named.x") as path:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"content")
        (path.parent / "empty.y").write_bytes(b"")
    assert folder.names("") == ["empty.y", "named.x"]
    with folder.on_disk("named.x") as path:
        assert path.name == "named.x"
        assert path.read_bytes() == b"content"
    assert [*folder.read_all(["named.x", "empty.y"])] == [b"content", b""]


def test_what_was_not_finished_is_not_sent(server):
    folder = open_folder(server.folder("unfinished"))
    with pytest.raises(ZeroDivisionError), folder.placing("named.x") as path:
        path.write_bytes(b"half")
        raise ZeroDivisionError
    assert folder.names("") == []


def test_the_file_that_was_named_is_sent_last(server, monkeypatch):
    folder, sent = open_folder(server.folder("order")), []
    monkeypatch.setattr(folder, "write", lambda name, content: sent.append(name))
    with folder.placing("b.x") as path:
        for name in ("c.x", "b.x", "a.x"):
            (path.parent / name).write_bytes(b"1")
    assert sent == ["a.x", "c.x", "b.x"]


def test_a_file_that_is_not_in_the_store_is_said_to_be_missing(server):
    folder = open_folder(server.folder("nothing"))
    with pytest.raises(StoreError, match=r"nothing/a.x: is not there"), folder.on_disk("a.x"):
        pass


def test_a_file_that_is_being_written_is_not_there(tmp_path):
    folder = hierarchy(tmp_path)
    folder.write("a.x", b"1")
    seen = []

    class Watched:
        """Looks while the file has all its content and not yet its name."""

        def __getattr__(self, name):
            return getattr(folder._files, name)

        def move(self, begun, name):
            assert Path(begun).read_bytes() == b"2"
            seen.append((folder.names(""), folder.has("b.x")))
            raise KeyboardInterrupt

    killed = HierarchyFolder(Watched(), str(tmp_path), str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        killed.write("b.x", b"2")
    assert seen == [(["a.x"], False)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.x"]


def test_what_a_killed_writer_left_is_swept_after_a_day(tmp_path):
    folder = hierarchy(tmp_path)
    folder.write("a.x", b"1")
    fresh, old = tmp_path / ".b.x.0a.tmp", tmp_path / ".c.x.0b.tmp"
    for path in (fresh, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert folder.names("") == ["a.x"]
    folder.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == [fresh.name, "a.x"]


def test_an_address_of_a_file_on_this_machine_is_a_path(tmp_path):
    assert isinstance(open_folder(f"file://{tmp_path}"), DiskFolder)
    (tmp_path / "pool.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    (row,) = open_pool(f"file://{tmp_path}/pool.jsonl").examples()
    assert row.response == "b"


def test_a_server_out_of_service_now_and_then_is_asked_again(server):
    folder = open_folder(server.folder("busy"))
    server.faults.every, server.faults.refused = 4, 0
    for n in range(10):
        folder.write(f"{n}.x", b"content")
    assert [*folder.read_all(folder.names(".x"))] == [b"content"] * 10
    server.faults.every = 0
    assert server.faults.refused >= 5


@pytest.fixture(autouse=True)
def _in_service(server):
    yield
    server.faults.every = 0


def test_large_files_go_up_in_parts(server):
    folder = open_folder(server.folder("large"))
    large = bytes(range(256)) * 60_000
    before = server.faults.requests
    folder.write("whole.x", large)
    assert server.faults.requests - before >= 3
    with folder.placing("placed.x") as path:
        path.write_bytes(large)
    assert [*folder.read_all(folder.names(".x"))] == [large, large]


def test_small_files_are_one_request(server):
    folder = open_folder(server.folder("small"))
    before = server.faults.requests
    folder.write("a.x", b"content")
    assert server.faults.requests - before <= 2


def test_a_listing_that_names_a_file_twice_counts_once():
    from pyarrow.fs import FileType

    info = SimpleNamespace(base_name="a.x", type=FileType.File)
    other = SimpleNamespace(base_name="b.x", type=FileType.Directory)
    listing = SimpleNamespace(get_file_info=lambda _: [info, other, info])
    assert ObjectFolder(listing, "bucket/p", "s3://bucket/p").names(".x") == ["a.x"]


def test_what_cannot_be_reached_is_said_in_one_line(server):
    folder = open_folder(server.folder("x").replace("pool-scores", "no-such-bucket"))
    with pytest.raises(StoreError, match=r"no-such-bucket.*cannot be written .*run again") as error:
        folder.write("a.x", b"1")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "s3://",
        "nothing://a/b",
        "s3://bucket/x?colour=red",
        "s3://bucket/x?secret_key=b&access_key=a",
    ],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError, match="no folder or object store"):
        open_folder(address)


def test_a_path_is_a_folder_on_the_disk(tmp_path):
    assert isinstance(open_folder(tmp_path), DiskFolder)
    assert open_folder(str(tmp_path / "a")).scratch == tmp_path / "a"
