# Two commands do everything: `make demo` and `make test`. Both make what they need in .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
# The build back end warns about editable installs of flat layouts; that is what is wanted here.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --quiet
IMAGE ?=

.PHONY: help demo test check lint bench clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 10

demo: $(RUN_READY)  ## five daemons on loopback: three releases, one of them bad (IMAGE=FILE for an image of yours)
	$(BIN)/fruit demo $(if $(IMAGE),--image $(IMAGE))

test: $(DEV_READY)  ## everything the tests need, then the tests
	$(BIN)/python -m pytest $(ARGS)

check: lint test  ## everything CI runs, but the benchmarks

lint: $(DEV_READY)  ## ruff, mypy --strict, the import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV_READY)  ## the table of docs/performance.md (JSON=1: one JSON object a row; ONLY=name,name)
	@$(BIN)/python -m benchmarks $(if $(JSON),--json) $(if $(ONLY),--only $(ONLY))

clean:  ## forget the virtual environment and caches
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fruitd needs Python 3.11 or newer; try: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no virtual environment: on Debian and Raspberry Pi OS, run: apt install python3-venv"; exit 1; }

$(RUN_READY): $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(DEV_READY): $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[dev,sim]'
	@touch $@ $(RUN_READY)
