# `make demo` and `make test` do all the set-up: each makes .venv from the lock and
# reuses it afterwards. Nothing outside this folder is touched but pip's cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint format check wheel-check clean help

help:
	@echo "make demo    evaluate the bundled backbone, print a table"
	@echo "make test    run every test"
	@echo "make lint    ruff, mypy --strict, codespell"
	@echo "make clean   remove the environment and caches"

demo: $(STAMP)
	@echo "== demo: bundled backbone and random initialisation on the bundled scenes"
	@$(BIN)/ssl-bench demo

test: $(STAMP)
	@echo "== tests"
	@$(BIN)/python -m pytest

lint: $(STAMP)
	@echo "== ruff, mypy --strict, codespell"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy ssl_bench
	@$(BIN)/codespell

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

check: test lint

wheel-check: $(STAMP)
	@echo "== the wheel, installed away from the checkout"
	@PYTHON=$(BIN)/python sh .ci/wheel

$(STAMP): requirements.lock setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(0 if (3, 11) <= v < (3, 14) else \
	  "ssl_bench needs Python 3.11 to 3.13, this is %d.%d; say make PYTHON=python3.11" % v)'
	@echo "== environment: $(VENV) (once; a few minutes, mostly torch)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
