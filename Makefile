# One command each; CI calls the same ones. Needs make and Python 3.11 or newer.
#   make up          install what is missing, then three replicas on this machine (ARGS="--port 9000")
#   make test        the tests, but for those that are marked slow: under six minutes on two cores
#   make test-all    all tests; make test-slow: those that make test leaves out
#   make fuzz        random bytes against the ports and the command line, EXAMPLES=20000 of each kind
#   make check       ruff, mypy, pyright, import-linter
#   make sim         hostile schedules on the simulator (SEEDS=2000, or FRESH=500 that nobody chose; ARGS="--level async")
#   make jepsen      every workload on real processes under faults, with a report (ARGS="--profile night --minutes 60")
#   make bench       measured beside etcd and Redis, about five minutes (make bench-full: everything, an hour;
#                    ARGS="--only adds,gets --json run.json"); wants wrk, etcd-server and redis-server of Debian
#   make lock        resolve requirements.lock anew from pyproject.toml
VENV ?= .venv
WORKERS ?= 2
SEEDS ?= 2000
FRESH ?=
EXAMPLES ?= 20000
ARGS ?=
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: up test test-all test-slow fuzz check sim jepsen bench bench-full routes lock install
.DEFAULT_GOAL := up

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml raftmem/__init__.py
	@python=$$(for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done); \
	  test -n "$$python" || { echo "make: Python 3.11 or newer is needed, and none was found" >&2; exit 1; }; \
	  echo "installing into $(VENV) with $$($$python --version)"; \
	  test -x $(BIN)/pip || $$python -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-index --no-build-isolation --no-deps -e .
	@touch $@

up: install
	@exec $(BIN)/raftmem up $(ARGS)

test: install
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: install
	$(PYTEST) -m slow $(ARGS)

test-all: install
	$(PYTEST) $(ARGS)

fuzz: install
	RAFTMEM_FUZZ_EXAMPLES=$(EXAMPLES) $(PYTEST) --timeout 0 -o faulthandler_timeout=0 \
	    $(wildcard tests/*/test_*fuzz*.py) $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# one process unless WORKERS is asked for
sim: install
	$(BIN)/python -m jepsen_like.simulator $(if $(FRESH),--fresh $(FRESH),--seeds 0-$$(($(SEEDS) - 1))) \
	    --workers $(if $(filter file,$(origin WORKERS)),1,$(WORKERS)) $(ARGS)

jepsen: install
	$(BIN)/python -m jepsen_like campaign $(if $(findstring --profile,$(ARGS)),,--profile ci) $(ARGS)

bench: install
	@exec $(BIN)/python -m benchmarks $(ARGS)

bench-full: install
	@exec $(BIN)/python -m benchmarks --full $(ARGS)

routes: install
	$(BIN)/python -m raftmem.api.table.page > docs/routes.md

lock:
	python3 -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet pip-tools
	$(VENV)-lock/bin/pip-compile --quiet --upgrade --extra dev --generate-hashes --allow-unsafe --strip-extras \
	    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements.lock pyproject.toml
	rm -rf $(VENV)-lock
