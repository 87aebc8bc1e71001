"""Time and peak memory of scoring and selecting a large pool.

``python -m benchmarks.million_rows FILE... [--rows N]`` writes a pool of `N` distinct rows
drawn from real files, then runs ``instructmining score`` and ``instructmining select`` on
it, each as a process of its own, and prints for each how long it took and how much memory
it and its workers held at most. The pool is then cut into `--parts` files, selected from
again, and the rows kept are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

COLUMNS = "len_in,len_out,len,mtld"
#: A rule over what needs no model; its coefficients are made up.
RULE: dict[str, Any] = {
    "schema": 1,
    "name": "lengths-and-diversity",
    "description": "For measuring time and memory only",
    "status": "baseline",
    "intercept": 0.0,
    "columns": [
        {"name": "len", "coefficient": -0.1, "transform": "clip+log1p"},
        {"name": "mtld", "coefficient": -0.001, "transform": "clip"},
    ],
}


@dataclass(frozen=True)
class Cost:
    """What one command took.

    Parameters
    ----------
    seconds : float
        Wall-clock time.
    cpu_seconds : float
        Processor time, workers included.
    peak_bytes : int
        Largest sum, over the process and its workers, of the memory resident at one time.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def synthesise(files: Sequence[Path], n: int, out: Path, seed: int = 0) -> None:
    """Write `n` distinct rows as JSON Lines: real turns, some words of the response exchanged.

    Parameters
    ----------
    files : sequence of Path
        Pools to draw from; every row of theirs is taken as often as every other.
    n : int
        Rows to write.
    out : Path
        The file.
    seed : int
        Seed of the exchanges.
    """
    from instructmining.formats import open_pool

    rows = [e for path in files for e in open_pool(path).examples() if e.scorable]
    draw = random.Random(seed)
    with out.open("w", encoding="utf-8") as pool:
        for number in range(n):
            example = rows[number % len(rows)]
            words = example.response.split(" ")
            for _ in range(1 + len(words) // 20):
                words[draw.randrange(len(words))] = draw.choice(words)
            words.insert(draw.randrange(len(words) + 1), str(number))
            record = {"instruction": example.prompt, "output": " ".join(words)}
            pool.write(json.dumps(record, ensure_ascii=False) + "\n")


def cut(pool: Path, scores: Path, n: int, folder: Path) -> str:
    """Cut a pool and its score table into `n` files each; return the pattern that names them."""
    from instructmining.parts.pool import SCORES
    from instructmining.scoring.table import ScoreTable

    folder.mkdir()
    table = ScoreTable.load(scores)
    size = -(-table.frame.height // n)
    with pool.open("rb") as lines:
        for number in range(n):
            part = folder / f"part-{number:03d}.jsonl"
            part.write_bytes(b"".join(islice(lines, size)))
            own = table.frame.slice(number * size, size)
            own = own.with_columns(row=pl.int_range(own.height, dtype=pl.Int64))
            ScoreTable(own, table.definitions, table.recorded).save(Path(f"{part}{SCORES}"))
    return str(folder / "*.jsonl")


def joined(folder: Path) -> bytes:
    """Return what was kept of all parts, in their order."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.jsonl")))


def measured(arguments: Sequence[str]) -> Cost:
    """Run a command to its end and watch what it takes.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    start = time.perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        ended = threading.Event()
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, peak))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        watcher.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(arguments))
    # The kernel's own figure for the largest process never misses a short peak.
    most = max(usage.ru_maxrss * 1024, peak[0])
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, most)


def _watch(pid: int, ended: threading.Event, peak: list[int]) -> None:
    while not ended.wait(0.2):
        peak[0] = max(peak[0], sum(_resident(each) for each in _family(pid)))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in tasks.read_text().split():
                yield from _family(int(child))
        except OSError:
            continue  # it ended meanwhile


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", default="0.1")
    parser.add_argument("--parts", type=int, default=10, help="files the pool is cut into")
    parser.add_argument("--folder", type=Path, help="where the pool is written for a while")
    given = parser.parse_args(argv)
    command = [sys.executable, "-m", "instructmining"]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        pool, rule, store = folder / "pool.jsonl", folder / "rule.json", folder / "store"
        synthesise(given.files, given.rows, pool)
        rule.write_text(json.dumps(RULE), encoding="utf-8")
        scores, best = folder / "scores.parquet", folder / "best.jsonl"
        score = ["score", str(pool), "-o", str(scores), "--indicators", COLUMNS]
        select = ["select", str(pool), "-o", str(best), "--rule", str(rule), "--keep", given.keep]
        stored = ["--store", str(store)]
        steps = {
            "score": [*score, *stored],
            "score, all stored": [*score, *stored],
            "select, all stored": [*select, *stored],
            "select --scores": [*select, "--scores", str(scores)],
        }
        size = pool.stat().st_size / 1e6
        cores = len(os.sched_getaffinity(0))
        sys.stdout.write(f"{given.rows:,} rows, {size:,.0f} MB, {cores} cores\n")
        sys.stdout.write(f"{'':20}{'s':>8}{'CPU s':>8}{'rows/s':>10}{'peak MB':>10}\n")
        for step, arguments in steps.items():
            _report(step, given.rows, measured([*command, *arguments]))
        parts = folder / "parts"
        pattern = cut(pool, scores, given.parts, parts)
        again = ["select", pattern, "-o", str(folder / "out"), "--scores", str(parts)]
        again += ["--rule", str(rule), "--keep", given.keep]
        _report(f"select, {given.parts} files", given.rows, measured([*command, *again]))
        same = joined(folder / "out") == best.read_bytes()
        sys.stdout.write(f"the files give the same rows: {'yes' if same else 'NO'}\n")


def _report(step: str, rows: int, cost: Cost) -> None:
    sys.stdout.write(
        f"{step:20}{cost.seconds:8.1f}{cost.cpu_seconds:8.1f}{rows / cost.seconds:10,.0f}"
        f"{cost.peak_bytes / 1e6:10,.0f}\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
