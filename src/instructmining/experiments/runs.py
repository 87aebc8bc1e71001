"""The run log: one line per fine-tuning run, complete enough to refit without the models.

The log is append-only JSON Lines and holds numbers and names, never text of the data. A
line is written by a single call and flushed to the disk, so a crash can damage the last
line only; what is left of it is moved aside to ``<log>.torn`` and that run is done again.
Every line carries a hash of itself: one that was changed later is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from instructmining.errors import ExperimentError
from instructmining.experiments.plan import Plan
from instructmining.experiments.specs import Shard
from instructmining.rules.seal import SEAL, is_intact, sealed
from instructmining.rules.transforms import TRANSFORMS, apply_transform

try:
    import fcntl
except ImportError:  # Windows has no flock; there one process at a time writes a log.
    fcntl = None  # type: ignore[assignment]

#: Without these a line cannot be told apart from other runs or refitted.
REQUIRED = ("run", "mixture", "seed", "plan", "sources", "indicators", "losses")
#: The shard that holds every run.
WHOLE = Shard()
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def run_id(mixture: str, seed: int) -> str:
    """Name of the run on `mixture` with training seed `seed`, such as ``"m01-s0"``."""
    return f"{mixture}-s{seed}"


class RunLog:
    """An append-only log of runs.

    Opening repairs a log whose last line was torn by a crash.

    Parameters
    ----------
    path : Path
        The log; it need not exist.

    Raises
    ------
    ExperimentError
        If `path` cannot be read or is no run log.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if self.path.exists():
            try:
                with _locked(self.path, os.O_RDWR) as handle:
                    self._repair(handle)
            except PermissionError:
                pass  # A log that may only be read stays as it is; `records` skips the tear.
            except OSError as error:
                raise self._failed("opened", error) from error

    @property
    def torn_path(self) -> Path:
        """Where torn lines are moved."""
        return self.path.with_name(self.path.name + ".torn")

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one run; when this returns, the line is on the disk.

        Raises
        ------
        ExperimentError
            If the record lacks a key, holds NaN or is in the log already, or if the disk or
            the permissions refuse the writing; the log is then as it was.
        """
        line = self._encode(record)
        if record["run"] in self.finished():
            raise ExperimentError(
                f"{self.path}: run {record['run']} is already logged; a run is logged once"
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path, os.O_RDWR | os.O_CREAT) as handle:
                self._repair(handle)
                end = os.fstat(handle).st_size
                written = os.write(handle, line)
                if written < len(line):
                    os.ftruncate(handle, end)
                    raise OSError(f"{written} of {len(line)} bytes written; is the disk full?")
                os.fsync(handle)
        except OSError as error:
            raise self._failed("written", error) from error

    def records(self) -> list[dict[str, Any]]:
        """All finished runs, in the order they were logged.

        Raises
        ------
        ExperimentError
            If a line other than a torn last one is no run, or was changed since.
        """
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise self._failed("read", error) from error
        lines = data.split(b"\n")
        last = max((i for i, line in enumerate(lines) if line.strip()), default=-1)
        found: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            record = _decode(line)
            if record is not None:
                if not is_intact(record):
                    raise ExperimentError(
                        f"{self.path}: line {number + 1} was changed after it was written (its "
                        f"{SEAL} does not fit); restore it from a copy, or delete the line to do "
                        "the run again"
                    )
                record.pop(SEAL, None)
                found.append(record)
            elif number != last:
                raise ExperimentError(
                    f"{self.path}: line {number + 1} is not a run (a JSON object with "
                    f"{', '.join(REQUIRED)}); restore it from a copy or remove it"
                )
        return found

    def finished(self) -> set[str]:
        """Return the identifiers of the runs in the log."""
        return {record["run"] for record in self.records()}

    def _encode(self, record: Mapping[str, Any]) -> bytes:
        missing = [key for key in REQUIRED if key not in record]
        if missing:
            raise ExperimentError(f"{self.path}: run record lacks {', '.join(missing)}; add it")
        try:
            text = json.dumps(sealed(record), allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise ExperimentError(
                f"{self.path}: run {record['run']} cannot be logged as JSON ({error}); "
                "values must be finite numbers, strings, lists, dicts or null"
            ) from error
        return text.encode() + b"\n"

    def _repair(self, handle: int) -> None:
        data = _read_all(handle)
        body = data.rstrip(b"\n")
        start = body.rfind(b"\n") + 1
        tail = body[start:]
        if not tail.strip():
            return
        if _decode(tail) is None:
            if not _torn(body, tail):
                raise ExperimentError(
                    f"{self.path}: is not a run log (one JSON object a line, with "
                    f"{', '.join(REQUIRED)}); choose another file name"
                )
            self._set_aside(tail)
            os.ftruncate(handle, start)
            os.fsync(handle)
        elif not data.endswith(b"\n"):
            # Everything but the line's end reached the disk: the run is not lost.
            os.write(handle, b"\n")
            os.fsync(handle)

    def _set_aside(self, tail: bytes) -> None:
        with self.torn_path.open("ab") as torn:
            torn.write(tail + b"\n")
            torn.flush()
            os.fsync(torn.fileno())

    def _failed(self, what: str, error: OSError) -> ExperimentError:
        return ExperimentError(
            f"{self.path}: run log cannot be {what} ({error.strerror or error}); "
            "free space, mend permissions or choose another path"
        )


@contextmanager
def _locked(path: Path, flags: int) -> Iterator[int]:
    # The lock keeps a second process from taking a line still being written for a torn one.
    handle = os.open(path, flags | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _read_all(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    blocks = []
    while block := os.read(handle, 1 << 20):
        blocks.append(block)
    return b"".join(blocks)


def _decode(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or any(key not in record for key in REQUIRED):
        return None
    return record


def _torn(body: bytes, tail: bytes) -> bool:
    # Only the unfinished end of a real log may be cut, never a file given by mistake.
    with suppress(ValueError):
        json.loads(tail)
        return False
    if len(tail) < len(body):
        return _decode(body.split(b"\n", 1)[0]) is not None
    return b'{"'.startswith(tail[:2]) or not tail.strip(b"\0")


def remaining(plan: Plan, log: RunLog, shard: Shard = WHOLE) -> list[tuple[str, int]]:
    """List the runs of `plan` that `log` does not hold, as (mixture, seed), in running order.

    Shards divide the whole plan, not what is left of it, so processes started at different
    times never meet.

    Raises
    ------
    ExperimentError
        If the log holds runs of another plan: they must not enter one regression.
    """
    finished = set()
    for record in log.records():
        if record["plan"] != plan.hash:
            raise ExperimentError(
                f"{log.path}: holds run {record['run']} of plan {str(record['plan'])[:12]}, not "
                f"of plan {plan.hash[:12]}; runs of two plans do not mix, choose another log"
            )
        finished.add((record["mixture"], record["seed"]))
    return [run for i, run in enumerate(plan.runs) if run not in finished and shard.holds(i)]


def indicator_summary(
    frame: pl.DataFrame, definitions: Mapping[str, Mapping[str, Any]], pool_frame: pl.DataFrame
) -> dict[str, dict[str, Any]]:
    """Summarise the indicators of one mixture for its line in the log.

    Parameters
    ----------
    frame : polars.DataFrame
        The mixture's rows; only ``example`` (content hash) is read.
    definitions : mapping
        Indicator column to its definition; the columns summarised.
    pool_frame : polars.DataFrame
        Scores of all rows mixtures are drawn from: ``example`` and the indicator columns.
        Clipping bounds are taken here, so that every mixture and every later selection
        speaks of the same transform.

    Returns
    -------
    dict
        Per column: ``definition``; ``n`` rows; ``n_null`` of them without a value;
        ``means``, transform to mean over the rows with a value (null if there is none, or
        if the transform is undefined for one); ``quantiles`` of the raw values at 0, 1/4,
        1/2, 3/4 and 1 (null likewise).

    Raises
    ------
    ExperimentError
        If a row or a column is missing in `pool_frame`.
    """
    absent = [name for name in ("example", *definitions) if name not in pool_frame.columns]
    if absent:
        raise ExperimentError(
            f"scores of the pool lack {', '.join(absent)}; score the sources with these columns"
        )
    positions = _positions(frame, pool_frame)
    summary: dict[str, dict[str, Any]] = {}
    for name, definition in definitions.items():
        # `cast` first: `to_numpy` turns nulls into NaN only in a float column.
        pool = pool_frame[name].cast(pl.Float64).to_numpy()
        values = pool[positions]
        known = np.isfinite(values)
        summary[name] = {
            "definition": dict(definition),
            "n": len(values),
            "n_null": int((~known).sum()),
            "means": {
                transform: _mean(apply_transform(transform, pool)[positions][known])
                for transform in TRANSFORMS
            },
            "quantiles": _quantiles(values[known]),
        }
    return summary


def _positions(frame: pl.DataFrame, pool_frame: pl.DataFrame) -> np.ndarray[Any, Any]:
    where = {example: position for position, example in enumerate(pool_frame["example"])}
    missing = [example for example in frame["example"] if example not in where]
    if missing:
        raise ExperimentError(
            f"{len(missing)} of {frame.height} rows of the mixture are not among the scores of "
            f"the pool (first: {missing[0]}); score the sources the plan names"
        )
    return np.array([where[example] for example in frame["example"]], dtype=np.int64)


def _mean(values: np.ndarray[Any, Any]) -> float | None:
    mean = float(np.mean(values)) if values.size else float("nan")
    return mean if np.isfinite(mean) else None


def _quantiles(values: np.ndarray[Any, Any]) -> list[float] | None:
    return [float(q) for q in np.quantile(values, _QUANTILES)] if values.size else None
