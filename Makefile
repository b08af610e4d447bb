# Everything that a person does with this repository; `make` alone explains it.
# Needs Python 3.11 to 3.13, make, and a package registry. Everything lands in .venv.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first of these that is suitable makes .venv; or name one: make PYTHON=/path/to/python3.12
PYTHON ?= python3 python3.13 python3.12 python3.11 python
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# ARGS is handed on: make test ARGS="-k migrations"
ARGS ?=
# Three test processes for two cores, as many tests wait: each with a Redis and a PostgreSQL of its
# own; a file stays in one of them.
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder
# Fault tests wait more than they compute, so more at once than cores; whoever is idle takes over.
FAULTS_PARALLEL ?= -n 3 --dist worksteal
MINUTES ?= 10
SEED ?=
KILLS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo up test test-faults soak kills check format bench bench-gpu setup lock

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## Start the yard, train hello-world on MNIST, and go on serving
	$(BIN)/trainyard demo $(ARGS)

up: setup ## Start the yard: web, worker, scheduler and Redis, on this machine
	$(BIN)/trainyard up $(ARGS)

test: setup ## Run all tests but the slow ones, with real Redis, PostgreSQL and training
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL) $(ARGS)

test-faults: setup ## Break everything that can break, on purpose: all fault tests
	$(BIN)/python -m pytest tests/faults tests/integration/test_worker.py tests/integration/test_outages.py $(FAULTS_PARALLEL) $(ARGS)

soak: setup ## Random faults for MINUTES=10, then the history checker (SEED=... to repeat one)
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

kills: setup ## Train hello-world twice, once with KILLS=3 of its worker: the same weights
	$(BIN)/python -m tests.faults.kills --kills $(KILLS) $(ARGS)

check: setup ## Check format, lint, types and imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup ## Put the code into its format, and repair what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup ## Measure against the figures that we hold
	$(BIN)/python -m tests.bench $(ARGS)

bench-gpu: setup ## The same on a GPU machine: its epochs and its limits (fetches CUDA's libraries)
	@$(PIP) install --require-hashes --requirement requirements/worker-gpu.txt
	$(BIN)/python -m tests.bench epoch --gpu $(ARGS)

setup: $(READY) ## Make or refresh .venv (the other targets do it too)

PIP = $(BIN)/python -m pip --quiet --disable-pip-version-check

$(READY): requirements/dev.txt package-lock.json pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV): the first time this takes a few minutes."
	@$(PIP) install --require-hashes --requirement requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m web.vendor
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON); do \
	    if $$python -c '$(SUITABLE)' 2>/dev/null; then \
	        $$python -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }; exit 0; \
	    fi; \
	done; \
	echo "Trainyard needs Python 3.11, 3.12 or 3.13. Looked for: $(PYTHON)." >&2; exit 1

# An extra of pyproject.toml, or several, make one lock; dev holds everything but the GPU's.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate $(ARGS) pyproject.toml

lock: setup ## Renew requirements/ after a change of pyproject.toml (ARGS=--upgrade: to the newest)
	$(LOCK) --extra web --extra worker --extra embedded --extra build --extra s3 --extra dev --output-file requirements/dev.txt
	$(LOCK) --constraint requirements/dev.txt --extra web --output-file requirements/web.txt
	$(LOCK) --constraint requirements/dev.txt --extra worker --output-file requirements/worker.txt
	$(LOCK) --constraint requirements/dev.txt --extra worker-gpu --output-file requirements/worker-gpu.txt
	$(LOCK) --constraint requirements/dev.txt --extra build --output-file requirements/build.txt
