# `make demo` and `make test` set up what they need; every other target does too.
# The first Python >= 3.11 with venv that is found; another one: make PYTHON=/path/to/python3.12 test
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
STAMP := $(VENV)/.installed
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test test-lowest check check-format check-lint check-types check-contracts check-docs format docs wheel \
	bench install clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "imle-opt needs Python 3.11 or newer with its module venv, and none was found." \
		"Install one (with its venv: python3-venv on Debian), or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imle-opt needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[report,docs]" --group dev
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/imle-opt demo

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The oldest versions that pyproject.toml allows; old packages warn where new ones do not.
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(LOWEST)/bin/python -m pip install --quiet -c constraints-lowest.txt ".[report]" pytest pytest-xdist hypothesis
	$(LOWEST)/bin/python -m pytest $(PYTEST_ARGS) -o filterwarnings=ignore --ignore tests/test_packaging.py

check: check-format check-lint check-types check-contracts check-docs

check-format: $(STAMP)
	$(BIN)/ruff format --check

check-lint: $(STAMP)
	$(BIN)/ruff check

check-types: $(STAMP)
	$(BIN)/mypy
	$(BIN)/pyright

check-contracts: $(STAMP)
	$(BIN)/lint-imports --no-logo

check-docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# All of it, with tables and plot into the docs; one case by name, printed: make bench CASE=grid-lp-5x5
PEERS := .bench-peers
BENCH := PYTHONPATH=$(PEERS) $(BIN)/python -m benchmarks.compare

bench: $(STAMP) $(PEERS)
	$(BENCH) $(if $(CASE),$(CASE),--json benchmarks/results/compare.json --page docs/benchmarks.md --plot docs/benchmarks.svg)

$(PEERS): benchmarks/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(PEERS) -r benchmarks/requirements.txt
	touch $(PEERS)

wheel: $(STAMP)
	$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf $(VENV) $(LOWEST) $(PEERS) site dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
