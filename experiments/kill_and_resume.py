"""Select undisturbed, then with two kills on the way, and compare the results bit for bit.

Usage: kill_and_resume.py POOL KEEP FOLDER

Both selections start from empty stores inside FOLDER; the second process is ended with
SIGKILL after a third and after two thirds of the time the first one took. Prints times,
rows per second and peak memory, and exits with 1 if a byte differs.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import time
from pathlib import Path

import polars as pl

from instructmining.formats import open_pool


def command(pool: str, keep: str, folder: Path, name: str) -> list[str]:
    """Return the selection as a user would type it."""
    cli = [sys.executable, "-m", "instructmining", "select", pool, "--keep", keep]
    return [*cli, "-o", str(folder / name), "--store", str(folder / f"store-{name}")]


def killed_after(seconds: float, arguments: list[str]) -> bool:
    """Run, end with SIGKILL after so many seconds; whether there was something to kill."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def fingerprints(folder: Path, name: str) -> tuple[str, str]:
    """Return SHA-256 of the rows written and of the decisions' values."""
    decisions = pl.read_parquet(folder / f"{name}.decisions.parquet")
    rows = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    # NDJSON prints floats so that they read back exactly: equal text is equal bits.
    return rows, hashlib.sha256(decisions.write_ndjson().encode()).hexdigest()


def main(pool: str, keep: str, out: str) -> int:
    """Run both selections and report."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    suffix = Path(pool).suffix
    whole, broken = f"undisturbed{suffix}", f"killed{suffix}"
    started = time.perf_counter()
    subprocess.run(command(pool, keep, folder, whole), check=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    n_rows = pl.read_parquet(folder / f"{whole}.decisions.parquet").height
    killed = [killed_after(seconds / 3, command(pool, keep, folder, broken)) for _ in range(2)]
    subprocess.run(command(pool, keep, folder, broken), check=True)
    same = fingerprints(folder, whole) == fingerprints(folder, broken)
    n_kept = sum(1 for _ in open_pool(folder / whole).examples())
    lines = [
        f"{n_rows} rows in {seconds:.0f} s: {n_rows / seconds:.1f} rows/s, peak {peak:.2f} GiB",
        f"{n_kept} records written, {n_rows} decisions, killed {sum(killed)} times",
        "rows and decisions are the same, bit for bit" if same else "THE RESULTS DIFFER",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
