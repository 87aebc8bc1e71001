"""Items wait on disk for their batch and come back as they were."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from instructmining.errors import StoreError
from instructmining.models.base import Item
from instructmining.models.batching import plan_batches
from instructmining.scoring.flags import FlagCodes
from instructmining.scoring.spool import Spool

RANDOM = np.random.default_rng(0)


def ids(n):
    return RANDOM.integers(-5, 2**31 - 1, n).astype(np.int32)


ITEMS = [
    Item(7, 12, "prefix", (ids(9), ids(4))),
    Item(3, 0, "unscorable", flags=("template_refused",)),
    Item(5, 40, "plain", (ids(40),), ("truncated_prompt", "truncated_response")),
    Item(0, 3, "prefix", (ids(0), ids(3))),
]


def test_items_come_back_in_any_order(tmp_path):
    with Spool(4, tmp_path, FlagCodes()) as spool:
        for position in (2, 0, 3, 1):
            spool.put(position, ITEMS[position])
        for order in ([0, 1, 2, 3], [3, 0], [2]):
            for position, item in zip(order, spool.take(order), strict=True):
                wanted = ITEMS[position]
                assert (item.row, item.cost, item.group) == (wanted.row, wanted.cost, wanted.group)
                assert item.flags == wanted.flags
                assert len(item.payload) == len(wanted.payload)
                for part, given in zip(item.payload, wanted.payload, strict=True):
                    assert part.dtype == np.int32
                    np.testing.assert_array_equal(part, given)
        assert spool.flags(np.asarray([1, 0])) == [("template_refused",), ()]


def test_the_plan_is_that_of_all_items_kept_or_not(tmp_path):
    with Spool(4, tmp_path, FlagCodes()) as spool:
        for position, item in enumerate(ITEMS):
            spool.put(position, item, keep=position == 2)
        wanted = plan_batches([i.cost for i in ITEMS], [i.group for i in ITEMS], 30)
        assert [b.tolist() for b in spool.plan(30)] == [b.tolist() for b in wanted]


def test_nothing_is_left_behind(tmp_path):
    with pytest.raises(KeyError), Spool(1, tmp_path, FlagCodes()) as spool:
        spool.put(0, ITEMS[0])
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_one_line(tmp_path):
    with pytest.raises(StoreError, match="cannot be written") as error:
        Spool(1, tmp_path / "absent", FlagCodes())
    assert "\n" not in str(error.value)


def test_a_full_disk_is_one_line(tmp_path):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, usual[1]))
    try:
        with (
            pytest.raises(StoreError, match=r"cannot be written, .* \(File too large\)") as error,
            Spool(1, tmp_path, FlagCodes()) as spool,
        ):
            for _ in range(1_000):
                spool.put(0, ITEMS[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert str(error.value).startswith(str(tmp_path))
    assert "\n" not in str(error.value)
