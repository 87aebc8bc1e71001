from __future__ import annotations

import json

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructmining.errors import InputError, StoreError
from instructmining.scoring.table import ScoreTable
from instructmining.selection.budget import Fraction, Rows, Tokens
from instructmining.selection.explain import explain
from instructmining.selection.overlaps import Overlaps
from instructmining.selection.select import Limits, load_decisions, select_rows
from instructmining.selection.spacing import Spacing
from selection.pools import at_angles, grouped, make_frame, select_by_nll


def test_lowest_predictions_are_kept_and_returned_in_both_orders():
    selection = select_by_nll(make_frame([3.0, 1.0, 2.0, 0.5]), Rows(3))
    assert selection.kept_rows.tolist() == [1, 2, 3]
    assert selection.kept_by_rank.tolist() == [3, 1, 2]
    assert selection.decisions["rank"].to_list() == [4, 2, 3, 1]
    assert selection.decisions["reason"].to_list() == ["budget"] + ["selected"] * 3
    assert selection.notes == ()


def test_ties_go_by_input_order():
    selection = select_by_nll(make_frame([2.0, 1.0, 1.0, 1.0, 0.0]), Rows(3))
    assert selection.kept_by_rank.tolist() == [4, 1, 2]


def test_one_copy_of_the_best_duplicate_stays():
    selection = select_by_nll(make_frame([5.0, 0.1, 4.0, 0.1, 0.1], texts=[0, 1, 2, 1, 1]), Rows(1))
    assert selection.kept_rows.tolist() == [1]
    assert selection.decisions["reason"].to_list() == [
        "budget", "selected", "budget", "duplicate_of:1", "duplicate_of:1",
    ]  # fmt: skip
    assert selection.decisions["rank"].to_list() == [3, 1, 2, None, None]
    assert selection.reasons == {"budget": 2, "duplicate": 2, "selected": 1}


def test_an_unscored_copy_does_not_take_the_place_of_a_scored_one():
    selection = select_by_nll(make_frame([None, 1.0, 1.0], texts=[7, 7, 7]), Rows(1))
    assert selection.decisions["reason"].to_list() == [
        "unscored:nll", "selected", "duplicate_of:1",
    ]  # fmt: skip


def test_nulls_and_nans_are_never_kept_and_name_the_first_column_of_the_rule():
    frame = make_frame([1.0, None, float("nan"), 2.0, None]).with_columns(
        mtld=pl.Series([None, None, 3.0, 4.0, 5.0])
    )
    predicted = np.array([0.0, 0.0, 0.0, 9.0, 0.0])
    selection = select_rows(
        frame, predicted, Fraction(1.0), contributions=None, rule_columns=["mtld", "nll"]
    )
    assert selection.decisions["reason"].to_list() == [
        "unscored:mtld", "unscored:mtld", "unscored:nll", "selected", "unscored:nll",
    ]  # fmt: skip
    assert selection.kept_rows.tolist() == [3]
    assert "2 unscored" not in selection.notes[0]
    assert "4 unscored" in selection.notes[0]


def test_infinite_value_counts_as_undefined():
    frame = make_frame([1.0, float("inf"), float("-inf")])
    parts = frame.select("nll")
    selection = select_rows(frame, np.zeros(3), Rows(3), contributions=parts, rule_columns=["nll"])
    assert selection.kept_rows.tolist() == [0]
    assert selection.decisions["reason"].to_list()[1:] == ["unscored:nll"] * 2
    for name in ("value:nll", "contribution:nll"):
        assert selection.decisions[name].to_list() == [1.0, None, None]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_prediction_that_is_no_number_is_never_kept(bad):
    frame = make_frame([1.0, 2.0])
    selection = select_rows(
        frame, np.array([bad, 5.0]), Rows(2), contributions=None, rule_columns=["nll"]
    )
    assert selection.decisions["reason"].to_list() == ["unscored:predicted", "selected"]
    assert selection.decisions["predicted"].to_list() == [None, 5.0]


def test_unreadable_row_is_not_kept_even_by_a_method_without_columns():
    frame = make_frame(
        [None, 1.0, None], lengths=[None, 5.0, None], flags=[["no_response"], [], []]
    )
    selection = select_rows(
        frame, np.array([0.0, 1.0, 2.0]), Rows(3), contributions=None, rule_columns=[]
    )
    assert selection.decisions["reason"].to_list()[:2] == ["unscored:response", "selected"]
    assert not any(name.startswith("contribution:") for name in selection.decisions.columns)


def test_whole_pool_is_kept_when_asked_for():
    selection = select_by_nll(make_frame([3.0, 1.0, 2.0]), Fraction(1.0))
    assert selection.kept_rows.tolist() == [0, 1, 2]
    assert selection.notes == ()


def test_more_than_the_pool_keeps_what_can_be_kept_and_says_so():
    selection = select_by_nll(make_frame([3.0, 1.0, None, 1.0], texts=[0, 1, 2, 1]), Rows(100))
    assert selection.kept_rows.tolist() == [0, 1]
    assert selection.notes == (
        "asked for 100 rows; kept all 2 that can be kept (pool of 4: 1 duplicates, 1 unscored)",
    )


def test_token_budget_counts_len_and_is_a_prefix_of_the_ranking():
    frame = make_frame([1.0, 2.0, 3.0, 4.0], lengths=[60.0, 30.0, 200.0, 5.0])
    selection = select_by_nll(frame, Tokens(100))
    assert selection.kept_rows.tolist() == [0, 1]
    assert select_by_nll(frame, Tokens(295)).kept_rows.tolist() == [0, 1, 2, 3]
    nothing = select_by_nll(frame, Tokens(59))
    assert nothing.kept_rows.tolist() == []
    assert "the best row alone has 60 tokens" in nothing.notes[0]
    assert "kept all 4 rows" in select_by_nll(frame, Tokens(1000)).notes[0]


def test_token_budget_needs_a_length_for_every_kept_row():
    frame = make_frame([1.0, 2.0], lengths=[None, 5.0])
    assert select_by_nll(frame, Tokens(9)).decisions["reason"].to_list() == [
        "unscored:len", "selected",
    ]  # fmt: skip
    with pytest.raises(InputError, match="'len' is not among the scores"):
        select_by_nll(frame.drop("len"), Tokens(9))


def test_pool_without_a_rankable_row_and_pool_without_rows():
    empty = make_frame([])
    assert select_by_nll(empty, Fraction(0.5)).decisions.height == 0
    selection = select_by_nll(make_frame([None, None]), Rows(1))
    assert selection.kept_rows.tolist() == []
    assert selection.reasons == {"unscored:nll": 2}
    assert select_by_nll(make_frame([None], lengths=[None]), Tokens(5)).kept_rows.tolist() == []


def test_wrong_shapes_and_absent_columns_are_refused():
    frame = make_frame([1.0, 2.0])
    two, one = np.zeros(2), pl.DataFrame({"nll": [0.0]})
    with pytest.raises(InputError, match="one prediction per row"):
        select_rows(frame, np.zeros(3), Rows(1), contributions=None, rule_columns=["nll"])
    with pytest.raises(InputError, match="'rew' is not among the scores"):
        select_rows(frame, two, Rows(1), contributions=None, rule_columns=["rew"])
    with pytest.raises(InputError, match="contributions of 1 rows for 2"):
        select_rows(frame, two, Rows(1), contributions=one, rule_columns=["nll"])
    with pytest.raises(InputError, match="no column len"):
        select_rows(
            frame, two, Rows(1), contributions=frame.select("nll"), rule_columns=["nll", "len"]
        )


pools = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(-5, 5)),
        st.integers(0, 6),
        st.integers(1, 40).map(float),
    ),
    min_size=1,
    max_size=30,
).map(lambda rows: make_frame(*[[r[0] for r in rows]], texts=[r[1] for r in rows],
                              lengths=[r[2] for r in rows]))  # fmt: skip
budgets = st.one_of(
    st.integers(1, 40).map(Rows),
    st.floats(0.01, 1.0).map(Fraction),
    st.integers(1, 600).map(Tokens),
)


@given(pools, budgets)
def test_every_row_gets_a_decision_that_holds(frame, budget):
    selection = select_by_nll(frame, budget)
    decisions = selection.decisions
    assert decisions["row"].to_list() == list(range(frame.height))
    assert decisions["reason"].null_count() == 0
    assert (decisions["kept"] == (decisions["reason"] == "selected")).all()
    assert sum(selection.reasons.values()) == frame.height
    kept = decisions.filter("kept")
    assert kept["value:nll"].null_count() == 0
    assert kept["example"].n_unique() == kept.height
    ranks = decisions["rank"].drop_nulls().sort().to_list()
    assert ranks == list(range(1, len(ranks) + 1))
    worst_kept = kept["predicted"].max()
    beaten = decisions.filter(pl.col("reason") == "budget")["predicted"].min()
    assert worst_kept is None or beaten is None or worst_kept <= beaten
    if isinstance(budget, Tokens):
        assert frame.filter(decisions["kept"])["len"].sum() <= budget.n


@given(pools)
def test_of_every_scored_text_exactly_one_copy_is_kept_when_all_are(frame):
    kept = select_by_nll(frame, Fraction(1.0)).decisions.filter("kept")
    scored = frame.filter(pl.col("nll").is_not_null())
    assert set(kept["example"]) == set(scored["example"])


@given(pools, st.sampled_from([Rows, Tokens]), st.integers(1, 300), st.integers(0, 300))
def test_a_smaller_budget_keeps_a_subset(frame, kind, small, more):
    fewer = set(select_by_nll(frame, kind(small)).kept_rows.tolist())
    assert fewer <= set(select_by_nll(frame, kind(small + more)).kept_rows.tolist())


@given(pools, budgets)
def test_contributions_add_up_to_the_prediction(frame, budget):
    decisions = select_by_nll(frame, budget).decisions.drop_nulls("predicted")
    base = (decisions["predicted"] - decisions["contribution:nll"]).to_numpy()
    assert np.allclose(base, base[:1], rtol=0, atol=1e-12)
    assert np.allclose(decisions["predicted"], 1 + 0.5 * decisions["value:nll"])


def test_decisions_survive_the_disk(tmp_path):
    frame = make_frame([3.0, 1.0, None, 1.0], texts=[0, 1, 2, 1], flags=[[], [], ["x"], []])
    selection = select_by_nll(frame, Rows(9))
    path = tmp_path / "out.jsonl.decisions.parquet"
    given_metadata = {"rule": "small-pilot", "status": "pilot", "mismatches": ["naïve “quote”"]}
    selection.save_decisions(path, given_metadata)
    decisions, metadata = load_decisions(path)
    assert decisions.equals(selection.decisions)
    assert decisions.schema == selection.decisions.schema
    assert metadata == json.loads(json.dumps(selection.metadata(given_metadata)))
    assert metadata["budget"] == {"kind": "rows", "n": 9, "text": "9 rows"}
    assert metadata["notes"] == list(selection.notes)
    assert metadata["mismatches"] == ["naïve “quote”"]


def test_same_input_gives_the_same_bytes(tmp_path):
    frame = make_frame([3.0, 1.0, 1.0, None])
    for name in ("a", "b"):
        select_by_nll(frame, Rows(2)).save_decisions(tmp_path / name, {"rule": "small"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("budget", "seal"),
    [
        (Rows(2), "3c88b3e9075a8fbe6a87c01e4fa25a51985dd4589a484e02d3e9d43e93dd1624"),
        (Fraction(0.5), "7e696af319f169fd2045d0173dcb195d896b61aa6e7615eecea570342369afdf"),
        (Tokens(65), "2812fea61addde2d0d8ab7cc41fcded81ef131745ba881f8ee60df4f59afa47d"),
        (Rows(99), "7243aee14b9b110eca89356863ade2175ee0271437a47be88ecb0cfc5c864535"),
    ],
    ids=str,
)
def test_decisions_are_what_they_were_before_there_were_quotas(tmp_path, budget, seal):
    # The seal is over every value and all metadata; the rest of the bytes is Arrow's own.
    frame = make_frame(
        [3.0, 1.0, None, 1.0, 0.5, 2.5],
        texts=[0, 1, 2, 1, 4, 5],
        lengths=[10.0, 20.0, 30.0, 20.0, 40.0, 50.0],
        flags=[[], ["odd"], ["empty_response"], [], [], []],
    )
    path = tmp_path / "decisions.parquet"
    metadata = {"rule": "small-pilot", "status": "pilot"}
    select_by_nll(frame, budget).save_decisions(path, metadata)
    assert pq.read_schema(path).metadata[b"instructmining.sha256"].decode() == seal


def test_decisions_with_quota_and_distance_survive_the_disk(tmp_path):
    frame = make_frame([3.0, 1.0, 2.0, 1.5, None])
    spacing = Spacing(0.5, at_angles(0, 1, 90, 180, 2), recorded={"encoder": {"model": "m"}})
    selection = select_by_nll(frame, Rows(2), spacing, grouped(["a", "a", None, "b", "b"]))
    selection.save_decisions(tmp_path / "d.parquet", {"rule": "small"})
    decisions, metadata = load_decisions(tmp_path / "d.parquet")
    assert decisions.equals(selection.decisions, null_equal=True)
    assert decisions.schema == selection.decisions.schema
    assert metadata["params"] == json.loads(json.dumps(selection.params))


def test_what_is_no_decisions_table_is_refused_in_one_line(tmp_path):
    frame = make_frame([1.0])
    missing, text, foreign = (tmp_path / name for name in ("missing", "text", "foreign.parquet"))
    scores, partial = tmp_path / "scores.parquet", tmp_path / "partial.parquet"
    text.write_text("not Parquet\n")
    frame.write_parquet(foreign)
    ScoreTable(frame, {}).save(scores)
    selection = select_by_nll(frame, Rows(1))
    type(selection)(selection.decisions.drop("reason"), Rows(1)).save_decisions(partial)
    for path, message in [
        (missing, "cannot be read"), (tmp_path, "cannot be read"), (text, "cannot be read"),
        (foreign, "not of instructmining"), (scores, "not a decisions table"),
        (partial, "without column reason"),
    ]:  # fmt: skip
        with pytest.raises(StoreError, match=message) as caught:
            load_decisions(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_selection_does_not_import_the_rules():
    import ast
    from pathlib import Path

    from instructmining.selection import select

    for file in Path(select.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("instructmining.rules")


# Overlap with evaluation files


def test_rows_that_overlap_are_never_kept_whatever_their_rank():
    frame = make_frame([3.0, 1.0, 2.0, 4.0, None], texts=[0, 1, 2, 1, 4])
    overlaps = {1: ("ngram", "a long run"), 3: ("ngram", "a long run"), 4: ("prompt", "a prompt")}
    chosen = select_rows(
        frame,
        frame["nll"].fill_null(np.nan).to_numpy(),
        Rows(2),
        contributions=None,
        rule_columns=["nll"],
        limits=Limits(overlaps=Overlaps(overlaps)),
    )
    decisions = chosen.decisions
    assert decisions["kept"].to_list() == [True, False, True, False, False]
    assert decisions["reason"].to_list() == [
        *("selected", "overlap:ngram", "selected", "overlap:ngram", "overlap:prompt")
    ]
    assert decisions["overlap"].to_list() == [None, "a long run", None, "a long run", "a prompt"]
    assert decisions["rank"].to_list() == [2, None, 1, None, None]
    assert "3 of 5 rows overlap an evaluation file and are never kept" in chosen.notes
    said = explain(decisions, {}, 1).sentence
    assert "shares a long run of words with an evaluation file: “a long run”" in said


def test_rows_that_overlap_may_compete_and_are_flagged():
    frame = make_frame([3.0, 1.0, 2.0, None], texts=[0, 1, 2, 3])
    frame = frame.with_columns(
        flags=pl.Series([[], ["garbled"], None, ["empty"]], dtype=frame["flags"].dtype)
    )
    found = {1: ("similar", "a text"), 2: ("embedding", "a prompt"), 3: ("ngram", "a run")}
    chosen = select_rows(
        frame,
        frame["nll"].fill_null(np.nan).to_numpy(),
        Rows(1),
        contributions=None,
        rule_columns=["nll"],
        limits=Limits(overlaps=Overlaps(found, drop=False, notes=("a note",))),
    )
    decisions = chosen.decisions
    assert decisions["reason"].to_list() == ["budget", "selected", "budget", "unscored:nll"]
    assert decisions["flags"].to_list() == [
        [], ["garbled", "overlap:similar"], ["overlap:embedding"], ["empty", "overlap:ngram"],
    ]  # fmt: skip
    assert decisions["overlap"].to_list() == [None, "a text", "a prompt", "a run"]
    assert chosen.notes[-2:] == (
        "3 of 4 rows overlap an evaluation file and are flagged: 1 of them are kept", "a note",
    )  # fmt: skip
    assert chosen.params["overlap"]["kinds"] == {"embedding": 1, "ngram": 1, "similar": 1}
    kept, passed = (explain(decisions, {}, row) for row in (1, 2))
    assert kept.sentence.startswith("Kept: rank 1")
    assert kept.sentence.endswith(
        " Flagged: it has most of its words in common with a text of an evaluation file: “a text”."
    )
    assert "the encoder finds it nearly the same" in passed.sentence
    assert kept.flags == ("garbled", "overlap:similar")


def test_a_long_text_is_quoted_by_its_beginning():
    frame = make_frame([1.0, 2.0])
    overlaps = Overlaps({0: ("response", "word " * 10_000)})
    chosen = select_rows(
        frame,
        frame["nll"].to_numpy(),
        Rows(1),
        contributions=None,
        rule_columns=["nll"],
        limits=Limits(overlaps=overlaps),
    )
    said = explain(chosen.decisions, {}, 0).sentence
    assert said.endswith("word word…”.")
    assert len(said) < 400


def test_without_overlap_asked_for_there_is_no_such_column():
    chosen = select_by_nll(make_frame([1.0, 2.0]), Rows(1))
    assert "overlap" not in chosen.decisions.columns
