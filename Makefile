# make run    the quickstart study: trains, prints a table, writes plots and report.html
# make test   the whole test suite        make lint   ruff and mypy
# The first call makes .venv and installs the pinned packages; nothing else is needed.

PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
WORKDIR ?= runs/quickstart
JOBS    ?= 2

export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/xla
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.1

.PHONY: run test lint clean
.DEFAULT_GOAL := run

$(STAMP): requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $(STAMP)

# A finished or stopped quickstart is continued, which for a finished one shows its table again.
run: $(STAMP)
	$(BIN)/python run.py --workdir=$(WORKDIR) $(if $(wildcard $(WORKDIR)/config.json),--resume)

test: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache runs
