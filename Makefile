# `make demo` and `make test` do all the set-up: each makes .venv from the lock and
# reuses it afterwards. Nothing outside this folder is touched but pip's cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OPS := $(VENV)/.ops
MMCV := onedl-mmcv==2.3.6

.PHONY: demo test lint format check wheel-check clean help

help:
	@echo "make demo    evaluate the bundled backbone, print a table"
	@echo "make test    run every test"
	@echo "make lint    ruff, mypy --strict, codespell"
	@echo "make clean   remove the environment and caches"

demo: $(STAMP)
	@echo "== demo: bundled backbone and random initialisation on the bundled scenes"
	@$(BIN)/ssl-bench demo

test: $(STAMP) $(OPS)
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

# Built in isolation mmcv does not see torch and leaves its operations out without a
# word, and pip keeps such a wheel: what counts is a call, and another build where it
# fails. Without -O3 and debugging symbols the build takes five minutes instead of eight.
$(OPS): $(STAMP)
	@echo "== mmcv and its compiled operations (once; some minutes of a C++ compiler)"
	@$(PROVE) >/dev/null 2>&1 || $(BUILD)
	@$(PROVE) >/dev/null 2>&1 || { $(BIN)/python -m pip cache remove onedl_mmcv \
	  >/dev/null 2>&1; $(BUILD) --force-reinstall; }
	@$(PROVE)
	@touch $@

PROVE = $(BIN)/python -c 'import sys; from ssl_bench.openmmlab.stack import examine; \
  sys.exit(examine("mmcv").problem or 0)'
BUILD = PATH="$(CURDIR)/$(BIN):$$PATH" MMCV_WITH_OPS=1 MAX_JOBS=$$(nproc) \
  CFLAGS="-O1 -g0" $(BIN)/python -m pip install --quiet --no-deps \
  --no-build-isolation $(MMCV)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
