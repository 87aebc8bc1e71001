# The two commands a newcomer needs are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint types unit models docs bench drill clean

demo: models
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

test: lint types unit

lint: $(INSTALLED)
	$(BIN)/ruff check src tests examples experiments benchmarks drills docs
	$(BIN)/ruff format --check src tests examples experiments benchmarks drills docs

types: $(INSTALLED)
	$(BIN)/mypy

unit: models
	$(BIN)/python -m pytest

models: $(INSTALLED)
	$(BIN)/instructmining download

# The documentation as pages, in site/; a warning is an error, as in the tests.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Against what users would run instead; llama.cpp is compiled once, for ten minutes.
bench: models
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks

# Kills, full disks, damaged files: the long form of tests/drills.
drill: $(INSTALLED)
	$(BIN)/python -m drills --out drill-output

# torch goes first and alone: with it in place no other package asks for another build.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .bench bench-output drill-output demo-output build dist site .mypy_cache .ruff_cache .pytest_cache
