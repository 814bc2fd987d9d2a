# One command for each habit. `make setup` needs only Python 3.11 or newer and make.
.DEFAULT_GOAL := help
.PHONY: help setup run test lint types bench soak docs lock clean
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# The newest-tested interpreter first; a pyenv shim without its Python fails the check and is passed over.
FIND_PYTHON = for p in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { command -v "$$p"; exit 0; }; done; exit 1
DB ?= sqlite:///var/health-hub.db

help: ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 8

setup: $(STAMP) ## build .venv with the locked versions; .venv/bin/health-hub is the program

$(PY):
	@found="$$($(FIND_PYTHON))" || { echo "Python 3.11 or newer with its venv module is needed (Debian: apt-get install python3-venv)" >&2; exit 1; }; \
	"$$found" -m venv $(VENV)

$(STAMP): requirements-dev.lock requirements.in pyproject.toml $(wildcard telemed/relay/*.[ch]) | $(PY)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(PY) -m telemed.relay.build >/dev/null
	@touch $@

run: setup ## demo records on embedded SQLite at http://127.0.0.1:8080, with demo sign-ins for every role
	@mkdir -p var
	$(VENV)/bin/health-hub serve --demo --db $(DB)

test: setup ## every test; says at the end what was skipped and how to install it
	@$(PY) -m pytest -n 3 --dist loadgroup $(ARGS)

lint: setup ## style and types
	@$(PY) -m ruff check .
	@$(PY) -m mypy

bench: setup ## the speed table of docs/performance.md
	@$(PY) -m bench $(ARGS)

soak: setup ## long runs: crashes, many writers, memory; ARGS=relay for the relay under abuse
	@$(PY) -m bench.soak $(ARGS)

docs: setup ## docs/cli.md from the program itself; every link in the documents is followed
	@$(PY) docs/build.py

lock: setup ## newest versions of everything into the lock files
	@for part in requirements requirements-dev; do \
	$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-emit-index-url $$part.in -o $$part.lock; done

clean: ## what can be built again
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache telemed/relay/_step-*.so
