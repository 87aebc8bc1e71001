# The two commands a newcomer needs are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint types unit models clean

demo: models
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

test: lint types unit

lint: $(INSTALLED)
	$(BIN)/ruff check src tests examples experiments
	$(BIN)/ruff format --check src tests examples experiments

types: $(INSTALLED)
	$(BIN)/mypy

unit: models
	$(BIN)/python -m pytest

models: $(INSTALLED)
	$(BIN)/instructmining download

# torch goes first and alone: with it in place no other package asks for another build.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-output build dist .mypy_cache .ruff_cache .pytest_cache
