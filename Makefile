# make setup | test | test-long | lint | demo | bench | clean

PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup test test-long lint demo bench clean

setup: .venv/ready

.venv/ready: pyproject.toml scripts/install-deps
	PYTHON=$(PYTHON) scripts/install-deps
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

test: lint
	$(BIN)/pytest --numprocesses=2 -m 'not long'

# walks that take long: a crash at every step, many random histories
test-long: setup
	$(BIN)/pytest --numprocesses=2 -m long

lint: setup
	$(BIN)/ruff check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	luacheck --quiet lua tests/lua

demo: setup
	$(BIN)/python -m slurm_power.demo

bench: setup
	$(BIN)/pip install --quiet --editable '.[bench]'
	$(BIN)/python -m tests.benchmarks core calendar packing victims rebuild reconcile telemetry slurm --json bench.json

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
