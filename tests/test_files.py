"""Outputs are finished or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from instructmining.errors import InputError
from instructmining.files import check_target, replacing


def write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_finished_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == path.parent, "a rename must stay on one disk"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, InputError])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(failure), replacing(path) as temporary:
        temporary.write_text("half")
        raise failure("stop")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_failure_without_an_old_file_leaves_none(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "out.txt"):
        _ = 1 / 0
    assert names(tmp_path) == []


def test_refusal_of_the_system_is_one_line(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(InputError, match="No space left") as error, replacing(path):
        raise OSError(28, "No space left on device")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        write(tmp_path, "text")
    assert names(tmp_path) == []


def test_pipe_is_not_replaced(tmp_path):
    # As root, `-o /dev/null` would otherwise replace the device of the whole machine.
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="device or pipe"):
        write(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "file" / "out.txt", "text")
    assert (tmp_path / "file").read_text() == "old"


def test_missing_parents_are_made(tmp_path):
    write(tmp_path / "a" / "b" / "out.txt", "text")
    assert (tmp_path / "a" / "b" / "out.txt").read_text() == "text"


def test_link_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "out.txt"
    link.symlink_to(tmp_path / "disk" / "real.txt")
    write(link, "one")
    write(link, "two")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.txt").read_text() == "two"
    assert names(tmp_path / "disk") == ["real.txt"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "out.txt", "text")
        assert os.umask(umask) == umask, "the umask of the process is put back"
    finally:
        os.umask(before)
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_simultaneous_writers_never_mix(tmp_path):
    path = tmp_path / "out.txt"
    texts = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert names(tmp_path) == ["out.txt"]


def test_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from instructmining.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    paths = os.pathsep.join(sys.path)
    killed = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    # What is left never looks like a finished file.
    assert [name for name in names(tmp_path) if not name.endswith(".tmp")] == ["out.txt"]


def test_a_target_is_checked_before_the_work(tmp_path):
    check_target(tmp_path / "new" / "deep" / "file")
    assert not (tmp_path / "new").exists()
    (tmp_path / "plain").write_text("a file")
    with pytest.raises(InputError, match="is a folder"):
        check_target(tmp_path)
    with pytest.raises(InputError, match="takes no files"):
        check_target(tmp_path / "plain" / "below")
