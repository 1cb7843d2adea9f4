# Each target works as the first command on a fresh clone, given Python 3.11 or newer, make and gcc.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
# Further arguments for pytest: make test ARGS="tests/unit -k retry"
ARGS   ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check bench bench-transport bench-limits bench-brokers bench-web test-apps test-chaos test-browser test-docker test-contract clean

help:
	@echo "make demo          a small shop with its two workers, on the embedded Redis (SERVE=1: leave it running)"
	@echo "make test          what every change must pass: check, then the tests"
	@echo "make check         ruff, mypy, import-linter"
	@echo "make bench         benchmarks beside plain Celery"
	@echo "make bench-transport  those of the Redis Streams transport; fails if a target is missed"
	@echo "make bench-limits  those of limits and groups; fails if a target is missed"
	@echo "make bench-brokers those of message brokers; fails if a target is missed"
	@echo "make bench-web     those of a web application; fails if a target is missed"
	@echo "make test-chaos    kills workers and servers, for minutes"
	@echo "make test-apps     the examples and other whole applications, and what users run on theirs"
	@echo "make test-browser  opens the dashboards in a browser"
	@echo "make test-docker   the container image and compose file"
	@echo "make test-contract the contracts of brokers: workers on stock Redis and RabbitMQ, and restarted servers"
	@echo "make clean         deletes what make has made"

setup: $(STAMP)

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 or newer is needed: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "make: $(PYTHON) cannot make virtual environments (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	SERVE=$(SERVE) $(BIN)/python -m examples.shop_demo

# Most of the tests wait for a server or a process, so a few of them at once do not disturb each other.
test: check
	$(PYTEST) -n 5 --dist worksteal $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

# Takes many minutes, the million tasks of transport-memory most of them: BENCH_MEMORY_TASKS=50000 for fewer.
bench-transport: $(STAMP)
	$(BIN)/python -m benchmarks --must-hold transport transport-pipeline transport-latency transport-memory $(ARGS)

# Likewise; a million parked deliveries take 1.5 GiB of memory: BENCH_PARKED=50000 for fewer.
bench-limits: $(STAMP)
	$(BIN)/python -m benchmarks --must-hold limits limits-cost limits-parked limits-groups limits-fairness $(ARGS)

# Likewise; about five minutes.
bench-brokers: $(STAMP)
	$(BIN)/python -m benchmarks --must-hold brokers-publish brokers-subscribe brokers-bus $(ARGS)

# Likewise; about a minute.
bench-web: $(STAMP)
	$(BIN)/python -m benchmarks --must-hold web $(ARGS)

test-apps: $(STAMP)
	$(PYTEST) -m apps -n 4 --dist worksteal $(ARGS)

# pytest's exit 5, "no test was selected", fails here as it should: a target without tests tests nothing.
test-chaos test-browser test-docker test-contract: test-%: $(STAMP)
	$(PYTEST) -m $* $(ARGS)

clean:
	rm -rf $(VENV) build dist .demo .two_services .user_registration .modular_monolith .django_shop .online_chat .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
