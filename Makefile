# `make run` and `make test` set up all they need; everything lives in .venv.
PYTHON ?= python3
VENV   := .venv
# A Python that is named for the benchmark gets an environment of its own: `make bench PYTHON=/usr/bin/python3`.
ifeq ($(origin PYTHON) $(filter bench,$(MAKECMDGOALS)),command line bench)
VENV   := .venv-bench
endif
BIN    := $(VENV)/bin
SILERO := silero-vad==6.2.3
PYTEST := $(BIN)/python -m pytest
SHARED := -n auto --maxprocesses=8 --dist worksteal   # the tests, shared out among the cores

# Kept bytecode: without it each worker compiles the tests, and each program that a test starts the whole gateway.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check bench peers format clean setup

run: $(VENV)/.ready
	@exec $(BIN)/patchbay serve

test: $(VENV)/.ready-dev
	$(PYTEST) $(SHARED)

# What must hold before every commit: offline, under a minute.
check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) $(SHARED)

format: $(VENV)/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready-dev
	$(BIN)/python -m bench run --check

# Real clients on loopback. What each needs is in CONTRIBUTING.md; a missing one is skipped with a reason.
peers: $(VENV)/.ready-dev
	$(PYTEST) tests/peers -ra

setup: $(VENV)/.ready-dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -r requirements.txt
	$(BIN)/python -m pip install -q --no-deps $(SILERO)   # declares torch, which its ONNX file does not need
	$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
