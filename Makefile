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
# What an engine starts beside each of its workers, and the job servers: Beam's, of the version in requirements.lock.
BEAM := $(shell sed -n 's/^apache-beam==\([0-9.]*\).*/\1/p' requirements.lock)
BEAM_BOOT := github.com/apache/beam/sdks/v2/python/container@v$(BEAM)
# Beam's other local runner.
PRISM := github.com/apache/beam/sdks/v2/go/cmd/prism@v$(BEAM)
ENGINES := $(CURDIR)/.tools/engines
# Tests make many small files, and a disk is waited for at each: where memory is plenty, and programs may be run from
# it, they are kept there.
IN_MEMORY := $(shell free=$$(awk '/^MemAvailable/ { print $$2 }' /proc/meminfo 2> /dev/null); \
    room=$$(df -k --output=avail /dev/shm 2> /dev/null | tail -n 1); \
    [ "$${free:-0}" -gt 12000000 ] && [ "$${room:-0}" -gt 8000000 ] && ! grep -q ' /dev/shm .*noexec' /proc/mounts && \
    echo /dev/shm)
PYTEST := TMPDIR=$(or $(TMPDIR),$(IN_MEMORY),/tmp) $(BIN)/python -m pytest

.PHONY: install demo test test-engines lint bench tools engines lock clean

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
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/run examples/dataflow/*.sh

test: lint tools
	$(PYTEST) -n auto --maxprocesses 4 --dist worksteal --ignore=tests/engines $(PYTEST_ARGS)

# Jobs on Spark and on Flink: clusters of separate processes, started and stopped by the tests.
test-engines: $(INSTALLED) engines
	$(PYTEST) tests/engines $(PYTEST_ARGS)

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

# Maven's runners of the Beam version in the lock; where a repository lacks those, the ones that the poms name.
engines:
	@[ -f $(ENGINES)/beam-$(BEAM) ] || { rm -rf $(ENGINES) $(TOOLS)/prism $(TOOLS)/beam-boot && \
	    mkdir -p $(ENGINES) $(TOOLS) && touch $(ENGINES)/beam-$(BEAM); }
	@if [ -x $(TOOLS)/prism ]; then :; \
	elif command -v go > /dev/null; then echo "building Prism" && \
	    GOBIN=$(CURDIR)/$(TOOLS) go install $(PRISM); \
	else echo "Go is not installed: the tests on Prism will be skipped"; fi
	@if command -v go > /dev/null && command -v mvn > /dev/null && command -v java > /dev/null; then \
	    [ -x $(TOOLS)/beam-boot ] || { echo "building Beam's boot program" && \
	        GOBIN=$(CURDIR)/$(TOOLS) go install $(BEAM_BOOT) && mv $(TOOLS)/container $(TOOLS)/beam-boot; } && \
	    for engine in spark flink; do \
	        [ -f $(ENGINES)/$$engine/job-server.jar ] || { echo "fetching $$engine" && \
	            maven="mvn -B -q -f tests/engines/jars/$$engine/pom.xml package -Dengine.output=$(ENGINES)/$$engine" && \
	            { $$maven -Dbeam.version=$(BEAM) -Dbeam.job-service.version=$(BEAM) > /dev/null 2>&1 || \
	            { echo "not with Beam $(BEAM); with what its pom names" && $$maven; }; }; } \
	        || exit 1; done; \
	else echo "Go, Java or Maven is not installed: the tests on Spark and Flink will be skipped"; fi

# Resolves all locks anew from the ranges in setup.py: that of development, and those of the images, whose versions are
# the same.
lock: $(INSTALLED)
	$(BIN)/uv pip compile --quiet setup.py --extra pipeline --extra cpu --extra metrics --extra dev --universal \
	    --python-version 3.11 --generate-hashes --no-header --upgrade -o requirements.lock
	for kind in cpu gpu; do \
	    $(BIN)/uv pip compile --quiet setup.py --extra pipeline --extra $$kind --extra metrics --extra dataflow \
	        --constraint requirements.lock --python-platform x86_64-manylinux_2_28 --python-version 3.11 \
	        --generate-hashes --no-header --no-annotate --upgrade -o requirements-$$kind.lock || exit 1; \
	done

clean:
	rm -rf $(VENV) .tools demo-output *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
