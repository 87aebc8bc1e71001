"""What heads are trained and measured on: apart by instruction, and of the licences stated."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from experiments.heads import compare, judged, made, sources

from instructmining.examples import prompt_hash
from instructmining.heads.damage import DAMAGES
from instructmining.heads.preferences import Preference
from instructmining.models.heads import load_heads

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def goods(shared_data):
    return sources.good_responses(shared_data)


@pytest.fixture(scope="module")
def pairs(goods):
    return made.made_pairs(goods)


@pytest.mark.parametrize("read", [judged.alpaca_eval, judged.expert_revisions])
def test_halves_of_pairs_share_no_instruction(read, shared_data):
    choose, report = ({p.group for p in read(shared_data, half)} for half in ("choose", "report"))
    assert min(len(choose), len(report)) > 200
    assert choose.isdisjoint(report)


def test_the_prompts_of_the_rule_are_left_out(shared_data):
    path = shared_data / "eval/self_instruct_human_eval/user_oriented_instructions.jsonl"
    known = path.read_text(encoding="utf-8")
    prompts = [p.turns[0].content.split("\n")[0] for p in judged.alpaca_eval(shared_data, "report")]
    assert len(prompts) > 900
    assert sum(f'"{prompt}"' in known for prompt in prompts) == 0


def test_escapes_do_not_give_the_side_away(shared_data):
    for half in ("choose", "report"):
        for pair in judged.expert_revisions(shared_data, half):
            for text in (pair.better, pair.worse):
                assert not re.search(r"\\n|\\u[0-9a-f]{4}", text)
    lines = Counter(
        side
        for pair in judged.expert_revisions(shared_data, "choose")
        for side, text in (("better", pair.better), ("worse", pair.worse))
        if "\n" in text
    )
    assert min(lines.values()) > 20


def test_contexts_of_personachat_are_halved(shared_data):
    choose, report = (judged.personachat(shared_data, half, "coh") for half in ("choose", "report"))
    assert len(choose) == len(report) == 150
    assert {r.group for r in choose}.isdisjoint(r.group for r in report)
    assert {r.example.turns for r in choose}.isdisjoint(r.example.turns for r in report)
    assert all(r.example.turns[-1].role == "user" for r in choose)
    assert {1.0, 3.0} <= {r.judgement for r in report}


def test_published_scores_come_with_the_descriptions(shared_data):
    rows = judged.descriptions(shared_data, "sfhot")
    assert len(rows) == 875
    assert all(1 <= row.judgement <= 6 and 0 <= row.unieval <= 1 for row in rows)


def test_what_trains_is_not_what_measures(goods, shared_data):
    trained = {good.group for good in goods} | {p.group for p in sources.preferences(shared_data)}
    for half in ("choose", "report"):
        for read in (judged.alpaca_eval, judged.expert_revisions):
            groups = {pair.group for pair in read(shared_data, half)}
            assert len(groups & trained) <= 2


def test_every_file_that_trains_is_in_the_notice():
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for name in (*sources.PREFERENCES, *sources.POOLS):
        assert name in notice


def test_good_responses_are_short_and_whole(goods):
    assert len(goods) > 800
    assert len({good.group for good in goods}) == len(goods)
    assert set(Counter(good.source for good in goods)) == {*sources.PREFERENCES, *sources.POOLS}
    assert all(4 <= len(good.response.split()) <= 70 for good in goods)


def test_made_pairs_hold_the_good_response_and_a_worse_one(goods, pairs):
    assert len(pairs) > 4 * len(goods)
    assert set(Counter(one.kind for one in pairs)) == {*DAMAGES, "swap"}
    assert {one.group for one in pairs} == {good.group for good in goods}
    assert all(one.pair.better != one.pair.worse for one in pairs)
    spoken = [one for one in pairs if one.pair.better == one.pair.better.lower()]
    assert 0.3 < len(spoken) / len(pairs) < 0.7


def test_an_exchanged_answer_is_another_prompts(goods, pairs):
    own = {good.group: good.response for good in goods}
    by_text = {good.response: good.group for good in goods}
    plain = [one for one in pairs if one.kind == "swap" and one.pair.better == own[one.group]]
    assert len(plain) > 300
    assert all(by_text.get(one.pair.worse) != one.group for one in plain)


def test_pairs_are_made_the_same_way_every_time(goods, pairs):
    assert made.made_pairs(goods) == pairs
    assert isinstance(pairs[0].pair, Preference)
    assert prompt_hash(goods[0].turns) == goods[0].group


@pytest.mark.parametrize("name", ["heads.md", "results.md"])
def test_pages_hold_the_table_of_the_packaged_heads(name):
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert compare.documented(page, load_heads()) == page, (
        f"docs/{name} is not what the heads' cards say; run python -m experiments.heads train"
    )


def test_the_packaged_heads_say_what_they_were_trained_on(goods, shared_data):
    trained = {good.group for good in goods} | {p.group for p in sources.preferences(shared_data)}
    assert load_heads().trained_on == trained
