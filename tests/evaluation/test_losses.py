from __future__ import annotations

import numpy as np
import pytest

from instructmining.errors import ExperimentError
from instructmining.evaluation.losses import evaluation_losses

TWO = [[1.0, 2.0], [3.0, 4.0]]


def test_rows_are_found_by_seed() -> None:
    losses = {"rule": [[1, 1], [2, 2], [3, 3]], "all": [[9, 9], [8, 8]]}
    found = evaluation_losses("lima", losses, [1, 2], {"rule": [7, 5, 3], "all": [3, 7]})
    assert found.shared("rule", "all") == (3, 7)
    np.testing.assert_array_equal(found.rows("rule", (3, 7)), [[3, 3], [1, 1]])
    np.testing.assert_array_equal(found.rows("all", (3, 7)), [[9, 9], [8, 8]])


def test_without_seeds_rows_are_paired_as_they_stand() -> None:
    found = evaluation_losses("lima", {"rule": [*TWO, [5, 6]], "all": TWO}, [1, 2])
    assert found.shared("rule", "all") == (0, 1)


def test_what_came_is_not_changed_nor_kept() -> None:
    table = np.array(TWO)
    found = evaluation_losses("lima", {"rule": table}, [1, 2])
    table[:] = 0
    assert found.losses["rule"].sum() == 10


@pytest.mark.parametrize(
    ("losses", "tokens", "seeds", "message"),
    [
        ({}, [1, 2], None, "lima: no method came"),
        ({"rule": TWO}, [1, 0], None, "prompt 1 has 0 tokens"),
        ({"rule": TWO}, [np.nan, 1], None, "prompt 0 has nan tokens"),
        ({"rule": TWO}, [1, 2, 3], None, r"method rule: losses of shape \(2, 2\) .* \(seeds, 3\)"),
        ({"rule": [[1.0]]}, [1], None, "two or more prompts"),
        ({"rule": TWO}, [[1, 2]], None, r"tokens of shape \(1, 2\)"),
        ({"rule": TWO}, "ab", None, "tokens per prompt are no table of numbers"),
        ({"rule": [1.0, 2.0]}, [1, 2], None, r"losses of shape \(2,\)"),
        ({"rule": np.empty((0, 2))}, [1, 2], None, r"losses of shape \(0, 2\)"),
        ({"rule": [[1.0, 2.0], [3.0]]}, [1, 2], None, "rule: losses are no table of numbers"),
        ({"rule": TWO, "all": [[1, 2], [np.nan, 1]]}, [1, 2], None, "all: .* row 1 .* 0 is nan"),
        ({"rule": [[1.0, np.inf]]}, [1, 2], None, "row 0 on prompt 1 is inf"),
        ({"rule": [[1.0, -0.5]]}, [1, 2], None, "row 0 on prompt 1 is -0.5"),
        ({"rule": [[1.0, 1.0], [0.0, 0.0]]}, [1, 2], None, "row 1 are all 0"),
        ({"rule": TWO}, [1, 2], {"rule": [1]}, r"seeds \[1\] came for 2 rows"),
        ({"rule": TWO}, [1, 2], {"rule": [1, 1]}, "each once"),
        ({"rule": TWO}, [1, 2], {}, r"seeds \[\] came"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(losses, tokens, seeds, message) -> None:
    with pytest.raises(ExperimentError, match=message) as caught:
        evaluation_losses("lima", losses, tokens, seeds)
    assert "\n" not in str(caught.value)
