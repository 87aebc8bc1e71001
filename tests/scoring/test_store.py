"""The store gives back what it was given, or says which file is damaged."""

from __future__ import annotations

import json
import os
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instructmining.errors import StoreError
from instructmining.scoring.digests import Lookup, pack
from instructmining.scoring.flags import FlagCodes
from instructmining.scoring.store import Store

DEFINITION = {"indicator": "nll", "version": 1, "model": "m"}
DIGESTS = [f"{number:032x}" for number in range(4)]
VALUES = np.array([[0.1, np.nan], [np.inf, -0.0], [np.nan, np.nan], [1e-300, 3.0]])
FLAGS = [[], ["truncated_prompt"], ["a", "b"], []]


@pytest.fixture
def shelf(tmp_path):
    return Store(tmp_path).shelf(DEFINITION, {}, 2)


def shards(shelf):
    return sorted(shelf.folder.path.glob("*.parquet"))


def load(shelf, digests=DIGESTS):
    """What a shelf holds of some rows, and how it numbers their flags."""
    codes = FlagCodes()
    return shelf.load(Lookup(pack(digests)), codes), codes


def content(shelf, digests=DIGESTS):
    """Rows by digest, as plain values."""
    stored, codes = load(shelf, digests)
    return {
        digest: (stored.values[index].tobytes(), codes.flags(stored.flags[index]))
        for index, digest in enumerate(digests)
        if stored.known[index]
    }


def test_round_trip_is_exact(shelf):
    shelf.append(DIGESTS[:3], VALUES[:3], FLAGS[:3])
    shelf.append(DIGESTS[3:], VALUES[3:], FLAGS[3:])
    assert content(shelf) == {
        digest: (VALUES[index].tobytes(), tuple(FLAGS[index]))
        for index, digest in enumerate(DIGESTS)
    }
    stored, _ = load(shelf)
    assert stored.known.all()
    assert stored.values.shape == (4, 2)
    assert stored.values.dtype == np.float64


def test_vectors_keep_their_number_format(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(4, 384)).astype(np.float32)
    shelf = Store(tmp_path).shelf({**DEFINITION, "indicator": "embedding"}, {}, None, np.float32)
    shelf.append(DIGESTS, vectors, [[]] * 4)
    stored, _ = load(shelf)
    assert stored.values.dtype == np.float32
    assert stored.values.tobytes() == vectors.tobytes()


def test_values_that_are_not_contiguous(shelf):
    shelf.append(DIGESTS[:2], VALUES.T[:, :2].T, FLAGS[:2])
    shelf.append(DIGESTS[2:], np.asfortranarray(VALUES)[2:], FLAGS[2:])
    np.testing.assert_array_equal(load(shelf)[0].values, VALUES)


def test_rows_come_in_the_order_asked_for_and_no_others(shelf):
    shelf.append(DIGESTS, VALUES, FLAGS)
    absent = "f" * 32
    asked = [DIGESTS[2], absent, DIGESTS[0]]
    stored, codes = load(shelf, asked)
    assert stored.known.tolist() == [True, False, True]
    np.testing.assert_array_equal(stored.values[[0, 2]], VALUES[[2, 0]])
    assert [codes.flags(code) for code in stored.flags] == [("a", "b"), (), ()]


def test_of_no_rows_there_are_no_values(shelf):
    shelf.append(DIGESTS, VALUES, FLAGS)
    stored, _ = load(shelf, [])
    assert (stored.known.shape, stored.values.shape) == ((0,), (0, 2))


def test_many_small_shards_are_as_one_large(tmp_path):
    # More rows than are looked up at one time, and some of them twice.
    digests = [f"{number:032x}" for number in range(3_000)]
    values = np.random.default_rng(0).normal(size=(3_000, 2))
    flags = [["odd"] if number % 7 == 0 else [] for number in range(3_000)]
    small, large = (Store(tmp_path / name).shelf(DEFINITION, {}, 2) for name in "sl")
    for start in range(0, 3_000, 40):
        rows = slice(start, start + 45)
        small.append(digests[rows], values[rows], flags[rows])
    large.append(digests, values, flags)
    wanted = content(large, digests)
    assert len(wanted) == 3_000
    assert content(small, digests) == wanted


def test_nothing_stored_yet(tmp_path):
    store = Store(tmp_path / "new")
    stored, _ = load(store.shelf(DEFINITION, {}, 3))
    assert not stored.known.any()
    assert stored.values.shape == (4, 3)
    assert load(store.shelf(DEFINITION, {}, 3), [])[0].values.shape == (0, 3)


def test_two_workers_on_one_folder(tmp_path):
    one = Store(tmp_path).shelf(DEFINITION, {}, 2)
    other = Store(tmp_path).shelf(DEFINITION, {}, 2)
    assert str(one.folder) == str(other.folder)
    one.append(DIGESTS[:2], VALUES[:2], FLAGS[:2])
    other.append(DIGESTS[2:], VALUES[2:], FLAGS[2:])
    assert content(one) == content(other)
    assert set(content(one)) == set(DIGESTS)


def test_same_batch_written_twice_counts_once(shelf):
    for _ in range(2):
        shelf.append(DIGESTS, VALUES, FLAGS)
    assert len(shards(shelf)) == 1
    assert load(shelf)[0].known.all()


def test_of_batches_that_overlap_the_first_by_name_counts(shelf):
    shelf.append(DIGESTS[:3], VALUES[:3], FLAGS[:3])
    (early,) = shards(shelf)
    shelf.append(DIGESTS[1:], VALUES[1:] + 1, [["late"]] * 3)
    first = shards(shelf)[0] == early
    stored, codes = load(shelf)
    assert stored.known.all()
    for index in range(4):
        # A row's values and flags are of the same shard.
        late = index == 3 or (index > 0 and not first)
        np.testing.assert_array_equal(stored.values[index], VALUES[index] + (1 if late else 0))
        wanted = ("late",) if late else tuple(FLAGS[index])
        assert codes.flags(stored.flags[index]) == wanted


def test_many_threads_write_at_once(tmp_path):
    def work(number):
        shelf = Store(tmp_path).shelf(DEFINITION, {}, 1)
        shelf.append([f"{number:032x}"], np.array([[float(number)]]), [[]])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored, _ = load(Store(tmp_path).shelf(DEFINITION, {}, 1), [f"{n:032x}" for n in range(16)])
    assert stored.known.all()
    assert stored.values[:, 0].tolist() == list(range(16))


@pytest.mark.parametrize(
    ("definition", "recorded"),
    [
        ({**DEFINITION, "model": "other"}, {}),
        ({**DEFINITION, "version": 2}, {}),
        ({**DEFINITION, "indicator": "ifd"}, {}),
        (DEFINITION, {"dtype": "bfloat16"}),
    ],
)
def test_what_values_depend_on_has_a_shelf_of_its_own(tmp_path, shelf, definition, recorded):
    shelf.append(DIGESTS, VALUES, FLAGS)
    other = Store(tmp_path).shelf(definition, recorded, 2)
    assert str(other.folder) != str(shelf.folder)
    assert not load(other)[0].known.any()


def test_order_of_keys_is_no_difference(tmp_path, shelf):
    turned = dict(reversed(DEFINITION.items()))
    assert Store(tmp_path).shelf(turned, {}, 2).folder.path == shelf.folder.path


def test_definition_lies_beside_the_shards(tmp_path):
    shelf = Store(tmp_path).shelf(DEFINITION, {"dtype": "float32"}, 2)
    note = json.loads((shelf.folder.path / "definition.json").read_text())
    assert note == {"definition": DEFINITION, "recorded": {"dtype": "float32"}}


def test_leftovers_of_a_killed_writer_are_passed_over(shelf):
    shelf.append(DIGESTS, VALUES, FLAGS)
    (shelf.folder.path / ".abc.parquet.x1.tmp").write_bytes(b"PAR1 half")
    assert set(content(shelf)) == set(DIGESTS)


def test_leftovers_are_removed_once_they_are_a_day_old(tmp_path, shelf):
    shelf.append(DIGESTS, VALUES, FLAGS)
    kept = sorted(path.name for path in shelf.folder.path.iterdir())
    day = 86_400
    for name, age in (("old", day + 60), ("young", day - 60), ("future", -day)):
        path = shelf.folder.path / f".{name}.parquet.x1.tmp"
        path.write_bytes(b"PAR1 half")
        os.utime(path, times=(time.time() - age,) * 2)
    Store(tmp_path).shelf(DEFINITION, {}, 2)
    left = {path.name for path in shelf.folder.path.iterdir()} - set(kept)
    assert left == {".young.parquet.x1.tmp", ".future.parquet.x1.tmp"}
    assert set(content(shelf)) == set(DIGESTS)


@pytest.mark.parametrize("length", [0, 3, 100, -1])
def test_truncated_shard_is_named(shelf, length):
    shelf.append(DIGESTS, VALUES, FLAGS)
    (path,) = shards(shelf)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(StoreError) as error:
        load(shelf)
    assert str(path) in str(error.value)
    assert "delete the file" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_flipped_byte_goes_unseen(shelf):
    # Page checksums cover the pages; names, types and the number of rows lie outside them.
    shelf.append(DIGESTS, VALUES, FLAGS)
    (path,) = shards(shelf)
    whole, wanted = path.read_bytes(), content(shelf)
    refused = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x88
        path.write_bytes(damaged)
        try:
            came = content(shelf)
        except StoreError:
            refused += 1
        else:
            assert came == wanted, f"byte {place}"
    assert refused > len(whole) // 2
    path.write_bytes(whole)
    assert content(shelf) == wanted


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"example": DIGESTS}),
        pa.table({"example": DIGESTS, "values": [1.0] * 4, "flags": [["a"]] * 4}),
        pa.table({"example": DIGESTS, "values": [[1.0]] * 4, "flags": [["a"]] * 4}),
    ],
)
def test_foreign_parquet_is_refused(shelf, table):
    path = shelf.folder.path / "foreign.parquet"
    pq.write_table(table, path)
    with pytest.raises(StoreError, match=r"foreign\.parquet"):
        load(shelf)


def test_shard_of_another_width_or_format_is_refused(tmp_path, shelf):
    for width, dtype in ((3, np.float64), (2, np.float32)):
        other = Store(tmp_path / "other").shelf({**DEFINITION, "k": width}, {}, width, dtype)
        other.append(DIGESTS, np.ones((4, width)), FLAGS)
        (path,) = shards(other)
        moved = shelf.folder.path / path.name
        moved.write_bytes(path.read_bytes())
        with pytest.raises(StoreError, match="values of type"):
            load(shelf)


def test_shard_under_another_name_is_refused(shelf):
    shelf.append(DIGESTS, VALUES, FLAGS)
    (path,) = shards(shelf)
    path.rename(path.with_name("0" * 24 + ".parquet"))
    with pytest.raises(StoreError, match="rows other than its name says"):
        load(shelf)


def test_folder_names_are_not_taken_for_columns(tmp_path):
    shelf = Store(tmp_path / "run=1" / "flags=2").shelf(DEFINITION, {}, 2)
    shelf.append(DIGESTS, VALUES, FLAGS)
    assert set(content(shelf)) == set(DIGESTS)


def test_failed_write_leaves_no_shard(shelf):
    with pytest.raises((ValueError, pa.ArrowException)):
        shelf.append(DIGESTS, VALUES, FLAGS[:1])
    assert shards(shelf) == []
    assert [path.name for path in shelf.folder.path.iterdir()] == ["definition.json"]


# Joined shards


@pytest.fixture
def many(tmp_path):
    """A shelf of 60 small shards; one row stands in two of them, with other values."""
    shelf = Store(tmp_path / "many").shelf(DEFINITION, {}, 2)
    for n in range(60):
        rows = [f"{n:031x}{part}" for part in "abc"[: 1 + n % 3]]
        flags = [["truncated_prompt"]] + [[] for _ in rows[1:]]
        shelf.append(rows, np.arange(2 * len(rows), dtype=float).reshape(-1, 2) + n, flags)
    shelf.append([f"{5:031x}a", f"{999:032x}"], np.full((2, 2), -1.0), [[], []])
    return shelf


MANY = [f"{n:031x}{part}" for n in range(60) for part in "abc"] + [f"{999:032x}"]


def test_joined_shards_hold_what_they_held(many):
    before = content(many, MANY)
    assert many.compact(most=100) == 0
    assert len(shards(many)) == 61

    assert many.compact(most=61) == 61
    assert len(shards(many)) == 1
    assert content(many, MANY) == before
    assert many.compact(most=1) == 0
    many.append([MANY[2]], np.ones((1, 2)), [[]])
    stored, _ = load(many, [MANY[2]])
    assert stored.known.all()


def test_joining_cut_short_loses_nothing(many, monkeypatch):
    before = content(many, MANY)

    def interrupted(self, names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(many.folder), "remove", interrupted)
        with pytest.raises(KeyboardInterrupt):
            many.compact(most=1)
    assert len(shards(many)) == 62
    assert content(many, MANY) == before
    many.compact(most=1)
    assert content(many, MANY) == before


def test_who_reads_while_shards_are_joined_misses_none(many, tmp_path, monkeypatch):
    before = content(many, MANY)
    other = Store(tmp_path / "many").shelf(DEFINITION, {}, 2)
    read_all = type(many.folder).read_all

    def overtaken(names):
        for place, found in enumerate(read_all(many.folder, names)):
            yield found
            if place == 7:
                other.compact(most=1)

    monkeypatch.setattr(many.folder, "read_all", overtaken)
    assert content(many, MANY) == before
