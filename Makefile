# The only way anyone runs things. `make help` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help serve test test-long lint bench bench-smoke clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(STAMP) ## start the server (settings: RENKEI_…, data/renkei.toml); Ctrl-C stops it
	@exec $(BIN)/renkei serve

test: $(DEV) ## run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not long"

test-long: $(DEV) ## run the tests with the long ones at full length
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(DEV) ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV) ## measure against the floor; prints the table of docs/performance.md
	$(BIN)/python -m bench

bench-smoke: $(DEV) ## a few seconds of the benchmark, to see that it runs
	$(BIN)/python -m bench --smoke

clean: ## remove the environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(STAMP): requirements.lock packaging/install-tools
	@packaging/install-tools
	@echo "making $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements.lock
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' | { read -r site; echo "$(CURDIR)" > "$$site/renkei.pth"; }
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -P -m fhir_server "$$@"\n' > $(BIN)/renkei
	@chmod +x $(BIN)/renkei
	@touch $@

$(DEV): requirements-dev.lock packaging/install-tools $(STAMP)
	@packaging/install-tools tests
	@$(PIP) -r requirements-dev.lock
	@touch $@
