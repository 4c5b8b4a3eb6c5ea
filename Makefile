# `make run` and `make test` install everything they need, into .venv.
PYTHON ?= python3
VENV   := .venv
# `make bench PYTHON=/usr/bin/python3` uses a separate environment for that Python.
ifeq ($(origin PYTHON) $(filter bench,$(MAKECMDGOALS)),command line bench)
VENV   := .venv-bench
endif
BIN    := $(VENV)/bin
SILERO := silero-vad==6.2.3
PYTEST := $(BIN)/python -m pytest
# Run the tests on all cores.
SHARED := -n auto --maxprocesses=8 --dist worksteal

# Bytecode must be kept: otherwise each worker compiles the tests, and each program in a test compiles the gateway.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check bench peers cosmos-contract format clean setup

run: $(VENV)/.ready
	@exec $(BIN)/patchbay serve

test: $(VENV)/.ready-dev
	$(PYTEST) $(SHARED)

# The checks before every commit. They need no network and take less than a minute.
check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) $(SHARED)

format: $(VENV)/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready-dev
	$(BIN)/python -m bench run --check --telemetry --phones

# Tests with real clients on loopback. CONTRIBUTING.md says what each needs; if it is missing, the test is skipped.
peers: $(VENV)/.ready-dev
	$(PYTEST) tests/peers -ra

# The contract of a store on a real account of Cosmos DB, which the environment names: docs/cosmos.md.
cosmos-contract: $(VENV)/.ready-dev
	$(PYTEST) tests/peers/test_cosmos_account.py -ra

setup: $(VENV)/.ready-dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -r requirements.txt
	$(BIN)/python -m pip install -q --no-deps $(SILERO)   # it declares torch, which its ONNX file does not need
	$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
