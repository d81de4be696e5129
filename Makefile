# Two commands do everything: `make demo` and `make test`. Both make what they need in .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
# The build back end warns about editable installs of flat layouts; that is what is wanted here.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --quiet
IMAGE ?=
# Tests run in so many processes, a file at a time. More than there are cores: half of them wait for daemons.
WORKERS ?= 4

.PHONY: help demo test test-vm testbed check lint bench clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 10

demo: $(RUN_READY)  ## daemons on loopback, in bays of emulated boards: four releases, one bad, one that hangs (IMAGE=FILE: yours)
	$(BIN)/fruit demo $(if $(IMAGE),--image $(IMAGE))

test: $(DEV_READY)  ## everything the tests need, then the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 20 $(ARGS)

test-vm: $(DEV_READY)  ## real machines under QEMU, as root: minutes (LONG=1: an hour, 100 power cuts)
	FRUIT_VM=$(if $(LONG),long,short) $(BIN)/python -m pytest tests/vm -m vm -v -s -p no:cacheprovider $(ARGS)

testbed: $(DEV_READY)  ## real daemons in network namespaces, as root: two sites, a gateway that dies (FILE=testbed.toml for another)
	$(BIN)/fruit testbed run $(or $(FILE),simulations/testbed/scenarios/short.toml)

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
