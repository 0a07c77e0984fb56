# Each target sets itself up in .venv on a fresh Debian 12 (or any machine with Python 3.11 to 3.14) and is quick the second time.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.PHONY: setup demo test soak lint format bench clean

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  echo "setting up: this Python lacks venv, installing python3-venv with apt"; \
	  apt-get update -qq && apt-get install -y -qq python3-venv python3-pip && $(PYTHON) -m venv --clear $(VENV); }
	@echo "setting up: installing bothway and its tools into $(VENV)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev,fast,offline]'
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
	  echo "setting up: the tests want PostgreSQL, installing it with apt"; \
	  command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql; } || \
	  echo "setting up: PostgreSQL could not be installed: its tests are skipped, or fail where CI is true"
	@touch $@

demo: $(READY)
	@$(BIN)/bothway demo $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest $(ARGS)

soak: $(READY)
	@BOTHWAY_SOAK=1 $(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check src tests examples bench
	@$(BIN)/ruff format --check src tests examples bench
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix src tests examples bench
	@$(BIN)/ruff format src tests examples bench

bench: $(READY)
	@$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
