# `make demo` and `make test` do all set-up themselves, in a clean clone.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TOOLS := .tools/bin
# Object stores for the tests: one of Google's kind that honours generation preconditions, one of Amazon's kind that
# honours If-Match and If-None-Match.
FAKE_GCS := github.com/fsouza/fake-gcs-server@v1.56.1
S3_GATEWAY := github.com/versity/versitygw/cmd/versitygw@v1.8.0

.PHONY: install demo test lint bench tools lock clean

install: $(INSTALLED)

$(INSTALLED): requirements.lock setup.py
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED)
	$(BIN)/catalog-indexer demo --output demo-output

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint tools
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.decode --json
	$(BIN)/python -m benchmarks.embed --json
	$(BIN)/python -m benchmarks.night --json
	$(BIN)/python -m benchmarks.index --json
	$(BIN)/python -m benchmarks.read_vectors --json
	$(BIN)/python -m benchmarks.plan --json
	$(BIN)/python -m benchmarks.consume --json

tools:
	@if [ -x $(TOOLS)/fake-gcs-server ] && [ -x $(TOOLS)/versitygw ]; then :; \
	elif command -v go > /dev/null; then mkdir -p $(TOOLS) && echo "building two object stores" && \
	    GOBIN=$(CURDIR)/$(TOOLS) go install $(FAKE_GCS) && GOBIN=$(CURDIR)/$(TOOLS) go install $(S3_GATEWAY); \
	else echo "Go is not installed: the tests on an object store will be skipped"; fi

# Resolves requirements.lock anew from the ranges in setup.py.
lock: $(INSTALLED)
	$(BIN)/uv pip compile --quiet setup.py --extra pipeline --extra cpu --extra metrics --extra dev --universal \
	    --python-version 3.11 --generate-hashes --no-header --upgrade -o requirements.lock

clean:
	rm -rf $(VENV) .tools demo-output *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
