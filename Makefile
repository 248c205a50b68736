# Needs Python 3.11 and make. Everything else is fetched, at pinned versions, into .venv and node_modules.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
MANAGE := .venv/bin/python manage.py
PYTEST := .venv/bin/python -m pytest -q
PY := .venv/.installed
JS := node_modules/.installed
LOG := .run/install.log

.PHONY: help
help: ## Show this help
	@echo "Start with: make demo"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# -- what is fetched ---------------------------------------------------------------------------------------------

.PHONY: install
install: $(PY) $(JS) ## Fetch the pinned Python and Node packages (the other targets do it when needed)

$(PY): deploy/bootstrap.txt requirements.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 is needed, and '$(PYTHON)' is something else: install it or run make PYTHON=/path/to/python3.11"; exit 1; }
	@mkdir -p .run
	@echo "Fetching Python packages (hash-checked) ..."
	@test -x .venv/bin/python || "$(PYTHON)" -m venv .venv > $(LOG) 2>&1 || { \
	  echo "Python cannot make a virtual environment: install its venv module (Debian: python3.11-venv). See $(LOG)"; exit 1; }
	@.venv/bin/python -m pip install --disable-pip-version-check --require-hashes -qr deploy/bootstrap.txt >> $(LOG) 2>&1 && \
	  .venv/bin/uv pip install --python .venv/bin/python --require-hashes -qr requirements.txt >> $(LOG) 2>&1 || { \
	  echo "The Python packages could not be fetched: check the network or proxy, then run make again. See $(LOG)"; exit 1; }
	@touch $@

$(JS): package.json package-lock.json | $(PY)
	@echo "Fetching Node packages (lock-checked) ..."
	@.venv/bin/npm ci --ignore-scripts --no-audit --no-fund --loglevel=error > $(LOG) 2>&1 || { \
	  echo "The Node packages could not be fetched: check the network or proxy, then run make again. See $(LOG)"; exit 1; }
	@touch $@

.PHONY: lock
lock: $(PY) ## Pin requirements.txt with hashes from pyproject.toml, package-lock.json from package.json
	.venv/bin/uv pip compile --quiet --generate-hashes --all-extras --no-header --no-annotate --python-version 3.11 pyproject.toml -o requirements.txt
	.venv/bin/npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund

# -- to run ------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(PY) $(JS) ## Start everything on http://localhost:8000 with two hospitals, people and real files
	@exec $(MANAGE) demo

.PHONY: up
up: $(PY) $(JS) ## Start everything without demo data
	@exec $(MANAGE) up

.PHONY: demo-check
demo-check: $(PY) $(JS) ## The same stack on free ports; the whole story without a person; a line for each fact
	@exec $(MANAGE) demo_check

# -- to work on it -----------------------------------------------------------------------------------------------

.PHONY: test
test: $(PY) $(JS) ## The suite on SQLite, then what touches a database on PostgreSQL
	@echo "== SQLite"
	@PORTAL_TEST_DATABASE=sqlite $(PYTEST)
	@echo "== PostgreSQL"
	@.venv/bin/python -m tests.postgres $(PYTEST) -m "db and not e2e and not campaign"

.PHONY: lint
lint: $(PY) ## Style, templates, import direction, system checks, migrations
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/djlint templates --lint --quiet
	@$(PYTEST) tests/architecture
	@$(MANAGE) check
	@$(MANAGE) makemigrations --check --dry-run
	@echo "lint: no findings"

.PHONY: format
format: $(PY) ## Let the formatters rewrite Python and templates
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format --quiet .
	@.venv/bin/djlint templates --reformat --quiet || true

.PHONY: contracts
contracts: $(PY) $(JS) ## Compile the contracts, test them with forge, write contracts/build
	@.venv/bin/python contracts/tools/artefacts.py
	@cd contracts && ../node_modules/@foundry-rs/forge-*/bin/forge test

.PHONY: contracts-proof
contracts-proof: $(PY) $(JS) ## Prove the contracts: long fuzzing, invariants, halmos, slither, mutants, recorded code
	@.venv/bin/python contracts/tools/prove.py

.PHONY: campaigns
campaigns: $(PY) $(JS) ## Kills, forks, hostile nodes, races, tampering: the counts that a change has to pass
	@$(PYTEST) -m campaign --size ci tests/campaigns

.PHONY: night
night: $(PY) $(JS) ## The same campaigns for a night: make night [COUNT=50000] [SEED=...] [ONLY=crash]
	@$(PYTEST) -m campaign --size night $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED)) tests/campaigns/$(ONLY)

.PHONY: ui
ui: $(PY) $(JS) ## Compile the style sheets into portal/static/portal
	@.venv/bin/npm run --silent ui

.PHONY: scenarios
scenarios: $(PY) $(JS) ## Run the scenario tests, print id, tests, result and write docs/scenarios.md
	@$(PYTEST) -m scenario --scenarios docs/scenarios.md

.PHONY: bench
bench: $(PY) $(JS) ## Measure, side by side with the reference ways
	@.venv/bin/python -m bench

.PHONY: bench-chain
bench-chain: $(PY) $(JS) ## Measure index, anchoring, gas and proofs beside the web3 loop and Ponder
	@.venv/bin/python -m bench chain

.PHONY: clean
clean: ## Remove what can be made again: data of the demo, packages, build output
	@rm -rf .run .venv node_modules contracts/out contracts/cache portal/static_root .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
