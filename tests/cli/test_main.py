"""What holds for every command: help, usage, errors, pipes and Ctrl-C."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from instructmining.rules import catalog

COMMANDS = [
    [],
    ["download"],
    ["score"],
    ["select"],
    ["explain"],
    ["fit"],
    ["rules"],
    ["rules", "list"],
    ["rules", "show"],
    ["experiment"],
    ["experiment", "plan"],
    ["experiment", "run"],
]
MODULE = [sys.executable, "-m", "instructmining"]
HEAVY = {
    "datasets",
    "numpy",
    "polars",
    "pyarrow",
    "requests",
    "rich",
    "sklearn",
    "statsmodels",
    "tokenizers",
    "torch",
    "transformers",
}


def imported_by(code: str) -> set[str]:
    """Top-level modules a fresh interpreter holds after `code`."""
    tail = "import sys; print(' '.join(sys.modules), file=sys.stderr)"
    script = f"try:\n  exec({code!r})\nfinally:\n  {tail}"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return {name.partition(".")[0] for name in ended.stderr.splitlines()[-1].split()}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words) or "bare")
def test_every_command_has_help_for_a_narrow_terminal(run, command):
    ended = run(*command, "--help")
    assert ended.code == 0
    assert ended.err == ""
    usage, _, summary, *_ = ended.out.splitlines()
    assert usage.startswith(" ".join(["Usage: instructmining", *command]))
    assert summary.strip()
    assert max(map(len, ended.out.splitlines())) <= 80


def test_help_names_every_command(run):
    listed = run("--help").out
    assert all(command[0] in listed for command in COMMANDS if command)


@pytest.mark.parametrize("words", [["--help"], ["select", "--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(words):
    code = f"import sys; sys.argv[1:] = {words}; from instructmining.cli.main import main; main()"
    assert not imported_by(code) & HEAVY


def test_the_package_itself_loads_nothing_heavy():
    assert not imported_by("import instructmining; dir(instructmining)") & HEAVY


def test_version_also_as_a_module(run):
    from importlib.metadata import version

    ended = subprocess.run([*MODULE, "--version"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert ended.stdout == run("--version").out == version("instructmining") + "\n"


def test_without_a_command_help_is_shown(run):
    ended = run()
    assert ended.code == 2
    assert "Usage: instructmining" in ended.out + ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["selct"], "No such command 'selct'"),
        (["score", "--indicator", "mtld"], "No such option: --indicator"),
        (["score"], "Missing argument 'POOL'"),
        (["select", "pool.jsonl"], "Missing option '--output'"),
        (["select", "pool.jsonl", "-o", "x", "--keep", "1", "--order", "best"], "'best' is not"),
        (["explain", "x.parquet", "first"], "Invalid value for 'ROW'"),
    ],
)
def test_wrong_usage_ends_with_code_2(run, words, said):
    ended = run(*words)
    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_rules_lists_and_show_prints_one_as_stored(run):
    listed = run("rules").out
    assert listed == run("rules", "list").out
    for name in ("longest", "instructmining-v1", "instructmining-v2"):
        assert name in listed
    document = json.loads(run("rules", "show", "longest", "--json").out)
    assert document["name"] == "longest"
    assert [(c["name"], c["coefficient"]) for c in document["columns"]] == [("len_out", -1.0)]
    assert "longest" in run("rules", "show", "longest").out


def test_an_unknown_rule_gets_a_suggestion(run):
    assert "did you mean longest?" in run("rules", "show", "longes").error
    assert "rules are " in run("rules", "show", "zzz").error


def test_a_rule_file_that_is_none(run, tmp_path):
    path = tmp_path / "rule.json"
    for text in ("", "{", "[]", '{"schema": 1}', "\x00" * 10, "[" * 100_000):
        path.write_text(text)
        assert str(path) in run("rules", "show", path).error
    assert str(tmp_path) in run("rules", "show", tmp_path).error


@pytest.mark.parametrize("words", [["rules"], ["--help"]])
def test_a_reader_that_has_gone_is_no_traceback(words):
    running = subprocess.Popen([*MODULE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.close()
    _, err = running.communicate(timeout=60)
    assert err == b""
    assert running.returncode in (0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_under_standard_output_is_one_line():
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*MODULE, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 2
    assert ended.stderr == "instructmining: error: output: No space left on device\n"


def temporary_files_that_are_refused(*_):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, usual[1]))
    try:
        tempfile.gettempdir()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def more_floats_than_any_machine_holds(*_):
    return np.empty(1 << 58)


def a_larger_tensor_than_any_machine_holds(*_):
    import torch

    return torch.empty(1 << 60)


def a_thread_that_is_refused(*_):
    usual = threading.stack_size(1 << 46)
    try:
        threading.Thread(target=print).start()
    finally:
        threading.stack_size(usual)


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (temporary_files_that_are_refused, "temporary files cannot be written (No usable"),
        (more_floats_than_any_machine_holds, "out of memory; free some"),
        (a_larger_tensor_than_any_machine_holds, "out of memory; free some"),
        (a_thread_that_is_refused, "no thread can be started; free memory"),
    ],
)
def test_what_a_machine_is_short_of_is_one_line(run, monkeypatch, attempt, said):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(catalog, "load_rule", attempt)
    assert said in run("rules", "show", "longest").error


def test_other_errors_of_a_library_keep_their_traceback(run, monkeypatch):
    def multiply(_):
        import torch

        return torch.ones(2, 3) @ torch.ones(2, 3)

    monkeypatch.setattr(catalog, "load_rule", multiply)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run("rules", "show", "longest")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("command", ["score", "select"])
def test_ctrl_c_is_one_line_and_code_130(tmp_path, command):
    pipe, out = tmp_path / "pool.jsonl", tmp_path / "out"
    os.mkfifo(pipe)
    out.write_text("old")
    words = [command, pipe, "-o", out, *(["--keep", "1"] if command == "select" else [])]
    running = subprocess.Popen(
        [*MODULE, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # Opening returns once the command has the pipe open too; it then waits for our bytes.
    with pipe.open("wb"):
        running.send_signal(signal.SIGINT)
        said, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said == ""
    (line,) = err.splitlines()
    assert line.startswith("instructmining: interrupted; ")
    assert out.read_text() == "old"


def test_ctrl_c_while_the_output_is_written_leaves_the_old_one(
    run, monkeypatch, tmp_path, pool, byte_tokenizer
):
    out = tmp_path / "scores.parquet"
    out.write_text("old")
    words = ("score", pool, "-o", out, "--indicators", "len_out,mtld", "--lm", byte_tokenizer)
    usual = pq.write_table

    def interrupted(table, where, **options):
        usual(table, where, **options)
        if getattr(where, "parent", None) == tmp_path:
            raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", interrupted)
    ended = run(*words)
    assert ended.code == 130
    assert ended.err.splitlines()[-1].startswith("instructmining: interrupted; ")
    assert "Traceback" not in ended.err
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pool.jsonl", "scores.parquet"]
    monkeypatch.setattr(pq, "write_table", usual)
    again = run(*words)
    assert again.code == 0
    assert again.err.count("reused 5 of 5 rows") == 1


def test_memory_that_runs_out_is_one_line(run, monkeypatch, pool, tmp_path):
    def too_much(*_, **__):
        return np.empty(1 << 58)

    monkeypatch.setattr("instructmining.api.score", too_much)
    ended = run("score", pool, "-o", tmp_path / "scores.parquet")
    assert "out of memory" in ended.error
