"""Importing the package and asking for help cost nothing; public names are a promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import instructmining
from architecture.source import ROOT

HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "sklearn",
    "statsmodels",
    "scipy",
    "pandas",
    "datasets",
    "polars",
    "pyarrow",
}
COMMANDS = (
    [],
    ["download"],
    ["score"],
    ["select"],
    ["explain"],
    ["fit"],
    ["compare"],
    ["search"],
    ["judge"],
    ["report"],
    ["export"],
    ["verify"],
    ["rules"],
    ["rules", "show"],
    ["experiment"],
    ["experiment", "plan"],
    ["experiment", "run"],
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        check=True,
    )


def loaded_after(code: str) -> set[str]:
    tail = "\nimport sys, json\nsys.stderr.write(json.dumps(sorted(sys.modules)))"
    modules = json.loads(run(code + tail).stderr)
    return {name.split(".")[0] for name in modules}


def test_import_loads_nothing_heavy():
    assert not loaded_after("import instructmining; dir(instructmining)") & HEAVY


def test_api_itself_loads_nothing_heavy():
    assert not loaded_after("import instructmining; instructmining.select") & HEAVY


def test_help_of_every_command_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from instructmining.cli.main import main\n"
        f"for command in {COMMANDS!r}:\n"
        "    sys.argv = ['instructmining', *command, '--help']\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as error:\n"
        "        assert error.code == 0, (command, error.code)\n"
    )
    assert not loaded_after(code) & HEAVY


def test_the_probe_would_see_a_heavy_library():
    assert "polars" in loaded_after("import polars") & HEAVY


def test_import_changes_nothing():
    code = (
        "import os, sys, logging, warnings\n"
        "def state():\n"
        "    return (dict(os.environ), logging.root.level, logging.root.handlers[:],\n"
        "            warnings.filters[:], sys.stdout, sys.stderr, os.getcwd())\n"
        "before = state()\n"
        "import instructmining.api, instructmining.cli.main\n"
        "assert state() == before\n"
    )
    assert run(code).stdout == ""


def test_public_names():
    assert instructmining.__all__ == [
        "ComparisonSetting",
        "Designing",
        "ExperimentSetting",
        "JudgingSetting",
        "Scoring",
        "SearchSetting",
        "Selected",
        "compare",
        "export",
        "judge",
        "load_examples",
        "load_rule",
        "plan_experiment",
        "prepare_experiment",
        "score",
        "search",
        "select",
        "select_parts",
    ]
    assert dir(instructmining) == sorted(instructmining.__all__)
    for name in instructmining.__all__:
        assert getattr(instructmining, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = instructmining.nothing
