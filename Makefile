# Two commands do everything: `make run` and `make test`. Both make their own virtualenv first.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3,$(shell $(p) -c 'import sys; print("$(p)" if sys.version_info[:2] in ((3,11),(3,12)) else "")' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
DATA ?= .meridian
READY := $(VENV)/.ready
NODE_READY := node_modules/.ready
# Where Node came with its headers, the package that is compiled takes those instead of downloading them.
NODE_ROOT := $(shell node -p "require('path').resolve(process.execPath, '../..')" 2>/dev/null)
NODE_HEADERS := $(if $(wildcard $(NODE_ROOT)/include/node/node_version.h),npm_config_nodedir=$(NODE_ROOT))

.PHONY: run demo test lint unit soak bench clean-data setup help

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) $(NODE_READY)  ## install what is needed, and nothing else

$(READY): requirements.txt requirements-local.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Meridian needs Python 3.11 or 3.12 on the PATH (or PYTHON=/path/to/python3.11)"; exit 1; }
	@echo "Installing Python packages into $(VENV), once (about a minute)"
	@$(PYTHON) -m venv $(VENV) || { echo "could not make a virtualenv: install the package python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt || { echo "The Python packages could not be installed: the lines above say why. It takes a package index (https://pypi.org, or a mirror in pip's settings)."; exit 1; }
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/$(BIN)/python" -m cli "$$@"\n' "$(CURDIR)" "$(CURDIR)" > $(BIN)/meridian
	@chmod +x $(BIN)/meridian
	@touch $@

$(NODE_READY): package.json package-lock.json
	@command -v npm >/dev/null || { echo "Meridian needs Node.js 20 or newer with npm (sign-in and blob storage run on it)"; exit 1; }
	@echo "Installing Node packages into node_modules, once (one to two minutes; one of them is compiled)"
	@$(NODE_HEADERS) npm ci --no-fund --no-audit --loglevel=error || { echo "The Node packages could not be installed: the lines above say why. It takes the npm registry and a C compiler."; exit 1; }
	@touch $@

run: setup  ## start everything on this machine and stay up
	@$(BIN)/python -m local run --data $(DATA) $(ARGS)

demo: setup  ## do the main job once, print what it took, and stop
	@$(BIN)/python -m local demo $(ARGS)

lint: setup  ## style, types, layers, orchestration rules
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m local.durable.lint functions orchestrations

unit: setup  ## the quick tests only
	@$(BIN)/pytest tests/unit -q -n 2

test: setup lint  ## lint and the whole suite
	@$(BIN)/pytest -n 2 --dist loadfile

soak: setup  ## fifty games for twenty minutes, a cable pulled out for ten, everything killed in any order; 50 minutes
	@$(BIN)/pytest tests/soak tests/flows/test_agent_chaos.py tests/contract/agent/test_kernel.py -m soak -s $(ARGS)

bench: setup  ## benchmarks: ratios against peers and limits, taken in one run
	@$(BIN)/python -m tests.benchmarks $(ARGS)

clean-data:  ## forget everything that `make run` stored
	@$(BIN)/python -m local clean-data --data $(DATA)
