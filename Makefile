# `make up` runs the demo site, `make test` runs every check. Both make what they need first, once.

VENV := .venv
BIN := $(VENV)/bin
# The first Python of at least 3.11 that really runs (a version manager's shim may stand in the path and not run).
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PIP_COMPILE := $(BIN)/python -m piptools compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --no-header --strip-extras --allow-unsafe

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: up
up: $(VENV)/.run ## start the demo site; Ctrl-C stops it
	@exec $(BIN)/holdfast up

.PHONY: reset
reset: $(VENV)/.run ## empty the demo site's data
	@$(BIN)/holdfast reset --yes

.PHONY: test
test: $(VENV)/.test ## ruff, mypy and every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

.PHONY: test-long
test-long: $(VENV)/.test ## the long forms of the tests
	HOLDFAST_LONG=1 $(BIN)/pytest -m slow

.PHONY: simulate
simulate: $(VENV)/.run ## a long simulation: thousands of schedules of each, over 10,000 of the rooms
	$(BIN)/holdfast simulate --app tickets --protocol lamport --seed $(or $(SEED),1) --seeds $(or $(SEEDS),2000)
	$(BIN)/holdfast simulate --app rooms --protocol bayou --seed $(or $(SEED),1) --seeds $(or $(SEEDS),3400)
	$(BIN)/holdfast simulate --app tickets --protocol bayou --seed $(or $(SEED),1) --seeds $(or $(SEEDS),500)
	$(BIN)/holdfast simulate --app events --protocol sequencer --seed $(or $(SEED),1) --seeds $(or $(SEEDS),2000)
	$(BIN)/holdfast simulate --protocol planner --seed $(or $(SEED),1) --seeds $(or $(SEEDS),2000)
	$(BIN)/holdfast simulate --app messages --protocol lamport --seed $(or $(SEED),1) --seeds $(or $(SEEDS),2000)
	$(BIN)/holdfast simulate --app messages --protocol solo --seed $(or $(SEED),1) --seeds $(or $(SEEDS),2000)
	$(BIN)/holdfast simulate --app messages --protocol bayou --seed $(or $(SEED),1) --seeds $(or $(SEEDS),500)
	$(BIN)/holdfast simulate --protocol notices --seed $(or $(SEED),1) --seeds $(or $(SEEDS),500)

.PHONY: bench
bench: $(VENV)/.run ## the ticket benchmark; its report goes to reports/
	$(BIN)/holdfast bench tickets

.PHONY: bench-rooms
bench-rooms: $(VENV)/.run ## the rooms benchmark; its report goes to reports/
	$(BIN)/holdfast bench rooms

.PHONY: bench-events
bench-events: $(VENV)/.run ## the events benchmark; its report goes to reports/
	$(BIN)/holdfast bench events

.PHONY: bench-slots
bench-slots: $(VENV)/.run ## the vendors' benchmark, over HTTP; its report goes to reports/
	$(BIN)/holdfast bench slots

.PHONY: bench-planner
bench-planner: $(VENV)/.run ## planners beside an optimum that knows the future; its report goes to reports/
	$(BIN)/holdfast bench planner

.PHONY: bench-messages
bench-messages: $(VENV)/.run ## the messages' benchmark, and a million in one inbox; its report goes to reports/
	$(BIN)/holdfast bench messages

.PHONY: bench-peers
bench-peers: $(VENV)/.run ## the same job on etcd and PostgreSQL, where installed
	PYTHON=$(CURDIR)/$(BIN)/python benchmarks/peers.sh

.PHONY: bench-rooms-peers
bench-rooms-peers: $(VENV)/.run ## the merge of the rooms, beside Yjs, pycrdt and Automerge where installed
	PYTHON=$(CURDIR)/$(BIN)/python benchmarks/rooms_peers.sh

.PHONY: fix
fix: $(VENV)/.test ## let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: requirements
requirements: $(VENV)/.test ## compile requirements/*.in anew, with hashes
	$(PIP_INSTALL) pip-tools
	cd requirements && PATH="$(CURDIR)/$(BIN):$$PATH" && \
	$(PIP_COMPILE:$(BIN)/%=../$(BIN)/%) run.in -o run.txt && $(PIP_COMPILE:$(BIN)/%=../$(BIN)/%) test.in -o test.txt

.PHONY: helps
helps: $(VENV)/.run ## write the command line's help into its page anew
	$(BIN)/python docs/helps.py

.PHONY: pictures
pictures: $(VENV)/.run ## make the pictures of the documentation anew
	$(BIN)/python docs/pictures.py

.PHONY: clean
clean: ## remove the environment and the caches (never the data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The environment. Each stamp file is newer than what it was made from, so nothing is installed twice.

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Holdfast needs Python 3.11 or later; none was found. Install it, or say make PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing $$package, which $(PYTHON) needs to make an environment."; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$package; \
		else \
			echo "$(PYTHON) cannot make an environment here. Install $$package (as root: apt-get install $$package)."; exit 1; \
		fi; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made requirements/run.txt pyproject.toml
	$(PIP_INSTALL) --require-hashes -r requirements/run.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run requirements/test.txt
	$(PIP_INSTALL) --require-hashes -r requirements/test.txt
	@touch $@
