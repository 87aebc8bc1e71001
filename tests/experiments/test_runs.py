from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from instructmining.errors import ExperimentError
from instructmining.experiments.mixtures import Mixture
from instructmining.experiments.plan import Plan, Setting
from instructmining.experiments.runs import (
    RunLog,
    indicator_summary,
    remaining,
    run_id,
)
from instructmining.shard import Shard

PLAN = Plan(
    (), (), Setting({"name": "tiny"}, {}, 1, seeds=(0, 1)),
    tuple(Mixture(name, (), {}) for name in ("m01", "m02", "m03")),
)  # fmt: skip


def record(mixture: str, seed: int = 0, seconds: float = 60.0) -> dict[str, Any]:
    return {
        "run": run_id(mixture, seed),
        "mixture": mixture,
        "seed": seed,
        "plan": PLAN.hash,
        "sources": {"café": 128},
        "indicators": {"nll": {"means": {"identity": 2.1}}},
        "losses": {"human-pilot": {"token_mean": 2.61, "per_example": [[23.5, 9], [11.25, 4]]}},
        "seconds": {"train": seconds, "evaluate": 20.0},
    }


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog(tmp_path / "runs.jsonl")


def test_what_is_appended_is_read_back_in_order(log):
    assert log.records() == []
    assert log.finished() == set()
    records = [record("m02"), record("m01"), record("m02", 1)]
    for one in records:
        log.append(one)
    assert log.records() == records
    assert RunLog(log.path).finished() == {"m02-s0", "m01-s0", "m02-s1"}
    assert log.path.read_bytes().count(b"\n") == 3
    assert not log.torn_path.exists()


def test_truncation_at_every_byte_loses_at_most_the_last_run(log):
    log.append(record("m01"))
    log.append(record("m02"))
    whole = log.path.read_bytes()
    first = whole.index(b"\n") + 1
    # Every byte of the last line; of the first, where the same code runs, a few.
    for length in [*range(0, first, 20), 1, 2, first - 1, *range(first, len(whole) + 1)]:
        log.path.write_bytes(whole[:length])
        log.torn_path.unlink(missing_ok=True)
        again = RunLog(log.path)
        expected = ["m01-s0"] if length >= first - 1 else []
        # Without its line end alone, a line is still complete.
        expected += ["m02-s0"] if length >= len(whole) - 1 else []
        assert [r["run"] for r in again.records()] == expected
        kept = whole[: (0, first, len(whole))[len(expected)]]
        assert log.path.read_bytes() == kept
        torn = log.torn_path.read_bytes() if log.torn_path.exists() else b""
        assert torn == (whole[len(kept) : length] + b"\n" if length > len(kept) else b"")
        again.append(record("m03"))
        assert [r["run"] for r in again.records()] == [*expected, "m03-s0"]


def test_a_tear_after_opening_is_mended_by_the_next_append(log):
    log.append(record("m01"))
    with log.path.open("ab") as handle:
        handle.write(b'{"run":"m02-s')
    assert log.finished() == {"m01-s0"}  # reading alone changes nothing
    log.append(record("m03"))
    assert [r["run"] for r in log.records()] == ["m01-s0", "m03-s0"]
    assert log.torn_path.read_bytes() == b'{"run":"m02-s\n'


def test_zero_bytes_left_by_a_crash_of_the_machine_are_a_tear(log):
    log.append(record("m01"))
    with log.path.open("ab") as handle:
        handle.write(b"\0" * 100)
    assert RunLog(log.path).finished() == {"m01-s0"}
    assert log.path.read_bytes().endswith(b"}\n")


def test_several_tears_are_all_kept(log):
    for name in ("m01", "m02", "m03"):
        RunLog(log.path).append(record(name))
        with log.path.open("ab") as handle:
            handle.write(b'{"torn":"%s' % name.encode())
    RunLog(log.path)
    assert log.torn_path.read_bytes().count(b"\n") == 3


def test_damage_in_the_middle_is_an_error_with_the_line(log):
    for name in ("m01", "m02", "m03"):
        log.append(record(name))
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(lines[0] + lines[1][:30] + b"\n" + lines[2])
    with pytest.raises(ExperimentError, match=r"runs.jsonl: line 2 is not a run"):
        RunLog(log.path).records()


@pytest.mark.parametrize(
    "content",
    [b'{"instruction": "a"}\n{"instruction": "b"}\n', b'{"instruction": "a"}', b"some text\nmore",
     b"text", b'{"instruction": "a"}\n{"instr'],
)  # fmt: skip
def test_a_file_of_another_kind_is_refused_and_untouched(log, content):
    log.path.write_bytes(content)
    with pytest.raises(ExperimentError, match="is not a run log"):
        RunLog(log.path)
    assert log.path.read_bytes() == content
    assert not log.torn_path.exists()


def test_records_that_cannot_be_refitted_are_refused(log):
    log.append(record("m01"))
    before = log.path.read_bytes()
    for bad, message in [
        (record("m01"), "m01-s0 is already logged"),
        ({"run": "x"}, "lacks mixture, seed, plan"),
        ({**record("m02"), "extra": float("nan")}, "cannot be logged as JSON"),
        ({**record("m02"), "extra": np.float32(1)}, "cannot be logged as JSON"),
    ]:
        with pytest.raises(ExperimentError, match=message) as caught:
            log.append(bad)
        assert "\n" not in str(caught.value)
    assert log.path.read_bytes() == before


def test_a_folder_is_one_clear_line(tmp_path):
    with pytest.raises(ExperimentError, match="run log cannot be opened"):
        RunLog(tmp_path)


WRITER = """
import sys
from pathlib import Path
from instructmining.experiments.runs import RunLog
log = RunLog(Path(sys.argv[1]))
for i in range(40):
    log.append({"run": f"{sys.argv[2]}-{i}", "mixture": "m", "seed": i, "plan": "p", "sources": {},
                "indicators": {}, "losses": {"x": list(range(3000))}})
    print(i, flush=True)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def start(log: RunLog, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(log.path), name]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)


def test_two_processes_write_one_log(log):
    writers = [start(log, "a"), start(log, "b")]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert len(log.finished()) == 80
    assert not log.torn_path.exists()


def test_a_killed_process_leaves_every_run_it_reported(log):
    writer = start(log, "a")
    assert writer.stdout is not None
    for _ in range(7):
        writer.stdout.readline()
    writer.kill()
    reported = 7 + len(writer.communicate()[0].splitlines())
    assert len(RunLog(log.path).finished()) in (reported, reported + 1)


FULL = """
import resource, sys
from pathlib import Path
from instructmining.errors import ExperimentError
from instructmining.experiments.runs import RunLog
log = RunLog(Path(sys.argv[1]))
size = log.path.stat().st_size
record = dict(log.records()[0], run="m02-s0")
resource.setrlimit(resource.RLIMIT_FSIZE, (size + int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    log.append(record)
except ExperimentError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_full_disk_leaves_the_log_as_it_was(log, room):
    log.append(record("m01"))
    before = log.path.read_bytes()
    command = [sys.executable, "-c", FULL, str(log.path), str(room)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{log.path}: run log cannot be written (")
    assert done.stdout.count("\n") == 1
    assert log.path.read_bytes() == before
    assert not log.torn_path.exists()


def test_remaining_runs_go_seed_by_seed(log):
    assert remaining(PLAN, log) == [(m, s) for s in (0, 1) for m in ("m01", "m02", "m03")]
    log.append(record("m02"))
    log.append(record("m01", 1))
    assert remaining(PLAN, log) == [("m01", 0), ("m03", 0), ("m02", 1), ("m03", 1)]
    log.append({**record("m03"), "plan": "0123456789abcdef"})
    with pytest.raises(ExperimentError, match="run m03-s0 of plan 0123456789ab, not"):
        remaining(PLAN, log)


def frame(values: list[float | None], start: int = 0) -> pl.DataFrame:
    names = [f"hash{start + i}" for i in range(len(values))]
    return pl.DataFrame({"example": names, "nll": pl.Series(values, dtype=pl.Float64)})


def test_indicator_summary_by_hand():
    pool = frame([float(i) for i in range(101)])
    rows = pool.filter(pl.col("nll").is_in([0.0, 50.0, 60.0]))
    summary = indicator_summary(rows, {"nll": {"version": 1}}, pool)["nll"]
    assert summary["definition"] == {"version": 1}
    assert (summary["n"], summary["n_null"]) == (3, 0)
    assert summary["quantiles"] == [0.0, 25.0, 50.0, 55.0, 60.0]
    # The pool's 1st and 99th percentile are 1 and 99; the mixture's own are 1 and 59.8.
    assert summary["means"] == pytest.approx(
        {
            "identity": 110 / 3,
            "log1p": (0 + np.log(51) + np.log(61)) / 3,
            "clip": (1 + 50 + 60) / 3,
            "clip+log1p": (np.log(2) + np.log(51) + np.log(61)) / 3,
        }
    )
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_null_rows_are_counted_and_left_out_of_the_means():
    pool = frame([1.0, None, 3.0, float("nan")])
    summary = indicator_summary(pool, {"nll": {}}, pool)["nll"]
    assert (summary["n"], summary["n_null"]) == (4, 2)
    assert summary["means"]["identity"] == 2.0
    nothing = indicator_summary(pool[1:2], {"nll": {}}, pool)["nll"]
    assert set(nothing["means"].values()) == {None}
    assert nothing["quantiles"] is None


def test_a_transform_undefined_for_a_row_has_no_mean():
    pool = frame([-5.0, 1.0, 2.0])
    means = indicator_summary(pool, {"nll": {}}, pool)["nll"]["means"]
    assert means["log1p"] is None
    assert means["identity"] == pytest.approx(-2 / 3)


def test_integer_columns_and_row_order():
    pool = pl.DataFrame({"example": ["a", "b", "c"], "len": [1, None, 9]})
    rows = pl.DataFrame({"example": ["c", "a", "c"]})
    summary = indicator_summary(rows, {"len": {}}, pool)["len"]
    assert summary["means"]["identity"] == pytest.approx(19 / 3)


def test_rows_and_columns_missing_in_the_pool_are_errors():
    with pytest.raises(ExperimentError, match=r"1 of 3 rows .* \(first: hash2\)"):
        indicator_summary(frame([1, 2, 3]), {"nll": {}}, frame([1, 2]))
    with pytest.raises(ExperimentError, match="lack ifd"):
        indicator_summary(frame([1]), {"ifd": {}}, frame([1]))


def test_shards_divide_the_plan_whatever_is_finished(log):
    shards = [Shard(1, 2), Shard(2, 2)]
    before = [remaining(PLAN, log, shard) for shard in shards]
    assert sorted([*before[0], *before[1]]) == sorted(remaining(PLAN, log))
    mixture, seed = before[0][0]
    log.append(record(mixture, seed))
    assert [remaining(PLAN, log, shard) for shard in shards] == [before[0][1:], before[1]]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(ExperimentError, match="wanted I/N"):
        Shard.parse(text)
