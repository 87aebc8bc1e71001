"""Pushing exported rows to a hub on this machine, which HF_ENDPOINT names."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cli.conftest import Ended
from hub_server import TOKEN, hub_server

REPO = "me/best"


@pytest.fixture
def hub():
    with hub_server() as served:
        yield served


@pytest.fixture
def push(hub, tmp_path):
    """Export and push in a process of its own, as the library reads its endpoint when loaded."""

    def call(source, *options, token=TOKEN, repo=REPO, endpoint=None):
        settings = {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": token}
        words = ["export", str(source), "--to", "trl", "-o", str(tmp_path / "train.jsonl")]
        ended = subprocess.run(
            [sys.executable, "-m", "instructmining", *words, "--push-to-hub", repo, *options],
            env={**os.environ, **settings, "HF_ENDPOINT": endpoint or hub.address},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return call


@pytest.fixture
def best(run, pool, byte_tokenizer, tmp_path):
    """Two rows of the pool, selected, with decisions and manifest."""
    output = tmp_path / "best.jsonl"
    words = ["--rule", "longest", "--keep", "2", "--lm", byte_tokenizer]
    ended = run("select", pool, *words, "--store", tmp_path / "store", "-o", output)
    assert ended.code == 0, ended.err
    return output


def test_rows_are_pushed_with_a_card_that_says_how_they_were_chosen(push, hub, best, tmp_path):
    ended = push(best, "--private")
    assert ended.code == 0, ended.err
    assert ended.out.split() == [str(tmp_path / "train.jsonl")]
    assert f"pushed to {hub.address}/datasets/{REPO}" in ended.err
    assert hub.private == {REPO: True}
    assert set(hub.files[REPO]) == {"train.jsonl", "README.md"}
    assert hub.files[REPO]["train.jsonl"] == (tmp_path / "train.jsonl").read_bytes()
    card = hub.card(REPO)
    assert card.startswith('---\nconfigs:\n- config_name: default\n  data_files: "train.jsonl"\n')
    assert "license:" not in card
    assert "No licence is stated here" in card
    assert "2 rows of best, in the form `trl`." in card
    assert "| Rule | longest" in card
    assert "| Budget | 2 rows |" in card
    # Responses of 25, 5, 11, 5 and 16 tokens, the copy of 5 among the pool; 25 and 16 are kept.
    assert "| `len_out` | 8 (5 to 14.75) | 20.50 (18.25 to 22.75) |" in card
    assert "instructmining select pool.jsonl --rule longest --keep 2" in card
    assert "instructmining export best.jsonl --to trl -o train.jsonl" in card
    assert str(tmp_path) not in card
    assert TOKEN not in card


def test_rows_that_were_not_selected_say_so(push, hub, pool):
    assert push(pool).code == 0
    assert hub.private == {REPO: False}
    assert "How they were chosen is not known" in hub.card(REPO)
    assert "6 rows of pool, in the form `trl`." in hub.card(REPO)


def test_a_card_that_is_there_stays_its_owners(push, hub, best):
    own = "---\nlicense: cc-by-4.0\n---\n\n# Mine\n\nAbout it.\n"
    hub.files[REPO], hub.private[REPO] = {"README.md": own.encode(), "old.jsonl": b"{}"}, False
    assert push(best).code == 0
    first = hub.card(REPO)
    assert first.startswith(own)
    assert first.count("| Budget | 2 rows |") == 1
    hub.files[REPO]["README.md"] += b"\nA last word.\n"
    assert push(best).code == 0
    assert hub.card(REPO) == first + "\nA last word.\n"
    assert hub.files[REPO]["old.jsonl"] == b"{}"


def test_private_rows_are_not_pushed_to_a_public_data_set(push, hub, best):
    hub.files[REPO], hub.private[REPO] = {}, False
    assert "is there already and public, nothing was sent" in push(best, "--private").error
    assert hub.files[REPO] == {}
    hub.private[REPO] = True
    assert push(best, "--private").code == 0
    assert "train.jsonl" in hub.files[REPO]


def test_a_refused_token_is_one_line(push, hub, best, tmp_path):
    error = push(best, token="hf_other").error
    assert f"{REPO}: the hub refused the token (401); log in with `hf auth login`" in error
    assert "hf_other" not in error
    assert hub.files == {}
    assert (tmp_path / "train.jsonl").exists()


@pytest.mark.parametrize("fault", ["repos/create", "/commit/main"])
def test_a_hub_out_of_service_is_one_line_and_the_next_try_succeeds(push, hub, best, fault):
    own = b"---\nlicense: cc-by-4.0\n---\n"
    hub.files[REPO], hub.private[REPO] = {"README.md": own}, False
    hub.faults[fault] = [503]
    error = push(best).error
    assert "hub answered 503" in error
    assert "the files are written here, run the same command again" in error
    assert hub.files[REPO] == {"README.md": own}
    assert push(best).code == 0
    assert hub.card(REPO).startswith(own.decode())


def test_a_card_that_cannot_be_read_is_not_overwritten(push, hub, best):
    own = b"---\nlicense: cc-by-4.0\n---\n"
    hub.files[REPO], hub.private[REPO] = {"README.md": own}, False
    hub.faults["HEAD /datasets"] = [400]
    assert f"{REPO}: the hub" in push(best).error
    assert hub.files[REPO] == {"README.md": own}


def test_a_short_outage_before_the_commit_is_waited_out(push, hub, best):
    hub.faults["/preupload/"] = [503]
    assert push(best).code == 0
    assert sum("/preupload/" in asked for asked in hub.requests) == 2


def test_no_hub_at_all(push, best):
    error = push(best, endpoint="http://127.0.0.1:9").error
    assert f"{REPO}: the hub cannot be reached" in error


def test_decisions_of_other_rows_are_not_told(push, hub, best):
    lines = best.read_text().splitlines()
    best.write_text(lines[0] + "\n")
    assert "does not keep the rows that stand in" in push(best).error
    assert hub.requests == []


@pytest.mark.parametrize("repo", ["best", "a/b/c", "me/be st", ""])
def test_a_name_that_is_none(run, pool, tmp_path, repo):
    words = ("--to", "trl", "-o", tmp_path / "out.jsonl", "--push-to-hub", repo)
    assert "OWNER/NAME was wanted" in run("export", pool, *words).error


def test_private_alone_says_nothing(run, pool, tmp_path):
    ended = run("export", pool, "--to", "trl", "-o", tmp_path / "out.jsonl", "--private")
    assert "add --push-to-hub OWNER/NAME" in ended.error
    assert not (tmp_path / "out.jsonl").exists()


def test_the_manifest_is_written_before_anything_is_pushed(push, best, tmp_path):
    assert push(best, token="hf_other").code == 2
    document = json.loads((tmp_path / "train.jsonl.manifest.json").read_text())
    assert document["facts"]["target"] == "trl"
