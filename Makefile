# Everything works from a fresh clone with Python 3.11 or later and make; the environment is .venv in this folder.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
STAMP := .venv/.installed
COMPILED := build/compiled/.stamp
HOT := $(wildcard schemas/*.py streams/*.py streams/engine/*.py schemas/avro/*.avsc)
# Processes that share the tests: most wait for brokers half of the time. With 0 pytest itself runs them, for --pdb.
JOBS ?= 2
SEED ?= 1
SCHEDULES ?= 10
DRAWINGS := docs/stories/drawings

.DEFAULT_GOAL := help
.PHONY: help compile demo test check format generate chaos bench soak kafka lock clean

help: ## what this file can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo "Polku needs Python 3.11 or later: install it, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	PYTHONWARNINGS=ignore POLKU_COMPILE=0 $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Without a compiler, or with POLKU_COMPILE=0, the same modules run as they are.
$(COMPILED): $(STAMP) $(HOT)
	@echo "compiling the hot path: some two minutes the first time"
	@$(BIN)/python setup.py -q build_ext --inplace -j 2
	@mkdir -p $(@D) && touch $@

compile: $(COMPILED) ## the hot path to C: a fifth to a third less CPU for an event

demo: $(STAMP) ## the bank-card story, end to end, on this machine
	@$(BIN)/polku demo

test: $(COMPILED) ## all tests; those about faults and guarantees need Apache Kafka and say so
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: $(STAMP) ## lint, types, dependency rule, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m schemas.generate --check
	$(BIN)/polku draw --all -d seeds --out $(DRAWINGS) --check

format: $(STAMP) ## let ruff put the code in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

generate: $(STAMP) ## write the generated files anew
	$(BIN)/python -m schemas.generate
	$(BIN)/polku draw --all -d seeds --out $(DRAWINGS)

chaos: $(COMPILED) ## faults while touchpoints flow, and what the oracle says: make chaos SEED=1 SCHEDULES=150
	$(BIN)/python -m tests.chaos.run --seed $(SEED) --schedules $(SCHEDULES) $(ARGS)

bench: $(COMPILED) ## speed, latency and cost beside other engines; writes build/bench.json
	$(BIN)/python -m tests.benchmarks.run $(ARGS)

soak: $(COMPILED) ## 10 million touchpoints through one worker: memory stays flat, each action is there once
	$(BIN)/python -m tests.benchmarks.soak $(ARGS)

kafka: $(STAMP) ## a real Apache Kafka in the foreground; prints its address
	@$(BIN)/python -m tests.support.kafka

lock: $(STAMP) ## pin every dependency with its hashes: requirements.lock
	$(BIN)/pip-compile -q --extra dev --output-file requirements.lock pyproject.toml

clean: ## remove the environment and everything built
	rm -rf .venv build dist *.egg-info schemas/*.so streams/*.so streams/engine/*.so
