# Everything runs from .venv, which is made on first use. `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Which Python .venv is made from; found by scripts/find-python unless given.
PYTHON ?=
# The tests measure coverage, also of the programs that they start.
PYTEST := $(BIN)/python -m pytest
# What the container image is called.
IMAGE ?= sokken:$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' sokken/__init__.py)

.DEFAULT_GOAL := help
.PHONY: help demo test unit check format lint types architecture test-programs bench bench-smoke bench-smoke-shown bench-report bench-references \
	bench-programs bench-workloads crd docs lock clean image test-image docker manifests test-deploy helm e2e e2e-operator

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

demo: $(READY) ## a server, a client and targets on loopback: watch bytes go through a tunnel
	@$(BIN)/python demo/demo.py

# How many tests go on side by side. Most wait rather than work: three take two cores 8 minutes, where one takes 19.
WORKERS ?= 3
test: $(READY) test-programs ## all tests, through real programs too; measures coverage
	$(PYTEST) tests/unit/protocol --cov=sokken.protocol --cov-fail-under=100 --cov-report=term:skip-covered
	$(PYTEST) -n $(WORKERS) --dist worksteal --cov=sokken --cov-report=term:skip-covered $(ARGS)

unit: $(READY) ## only the tests of single modules: seconds, and no other programs needed
	$(PYTEST) tests/unit $(ARGS)

check: lint types architecture test ## format, lint, types, architecture and tests: what a change must pass

format: $(READY) ## rewrite the code in its one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

lint: $(READY) ## is the code formatted, and free of what ruff knows to be trouble?
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## mypy, strict
	$(BIN)/mypy

architecture: $(READY) ## imports only run downwards
	$(BIN)/lint-imports

test-programs: ## install from Debian the real programs that the tests use
	@scripts/test-programs

bench: $(READY) bench-references ## speed and memory beside socat, HAProxy and every tunnel found: 6 minutes
	$(BIN)/python -m bench full $(ARGS)

bench-smoke: $(READY) bench-references ## the same in 40 seconds, with wide margins
	$(BIN)/python -m bench smoke $(ARGS)

# The benchmark's exit code 1 is a missed figure, 2 what could not be measured, or is wrong.
bench-smoke-shown: $(READY) bench-references
	@$(BIN)/python -m bench smoke || [ $$? -eq 1 ]

bench-report: $(READY) ## write docs/performance.md and its charts from the runs in bench/results
	$(BIN)/python -m bench report

bench-references: ## install from Debian what speed is compared with
	@scripts/install-from-debian "The benchmark" $$(PATH="$$PATH:/usr/sbin"; \
		for program in socat haproxy; do command -v $$program >/dev/null || echo $$program; done)

bench-programs: ## install from Debian what the benchmarks compare with, and the programs of the workloads
	@scripts/bench-programs

bench-workloads: $(READY) ## scp, pgbench, HTTP, git, NFS and OpenVPN through the tunnel: 15 minutes; ARGS=--quick: 1
	@scripts/bench-programs || echo "The workloads go on without them." >&2
	$(BIN)/python -m bench.workloads.run $(ARGS)

docs: $(READY) ## write what of the documents is made from the code, and the chart's schema and README from its values
	$(BIN)/python -m sokken.settings.document > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md
	$(BIN)/python -m sokken.operator.document < docs/operator.md > docs/operator.md.new
	mv docs/operator.md.new docs/operator.md
	$(BIN)/python -m charts.generate

crd: $(READY) ## write k8s/crds from the model of the Tunnel
	@scripts/write-crd $(BIN)/python

manifests: $(READY) crd helm ## write k8s/ from the chart and the model of the Tunnel
	$(BIN)/python -m charts.generate manifests

test-deploy: $(READY) helm ## the chart rendered with many values, by the real helm; no cluster
	@command -v kubectl >/dev/null || { echo "The tests of the chart need kubectl, which is not on PATH." >&2; exit 1; }
	$(PYTEST) tests/deploy $(ARGS)

helm:
	@command -v helm >/dev/null || { echo "The chart needs helm 3.14 or newer, which is not on PATH: https://helm.sh/docs/intro/install" >&2; exit 1; }

image: docker ## build the container image sokken:VERSION, or IMAGE=NAME
	@scripts/image $(IMAGE)

test-image: docker $(READY) image ## build it, and test what is in it and what it does
	IMAGE=$(IMAGE) $(PYTEST) tests/image $(ARGS)

# How many stories go on side by side; they mostly wait.
STORIES ?= 4
e2e: $(READY) ## the stories on a Kubernetes cluster: builds the image, and makes the cluster with kind; minutes
	IMAGE=$(IMAGE) $(PYTEST) tests/e2e --ignore=tests/e2e/operator -n $(STORIES) --dist worksteal $(ARGS)

e2e-operator: $(READY) ## the operator's stories, on a cluster of their own: they change what belongs to all of it
	IMAGE=$(IMAGE) $(PYTEST) tests/e2e/operator -n $(STORIES) --dist worksteal $(ARGS)

docker:
	@command -v docker >/dev/null || { echo "The image needs docker, which is not on PATH." >&2; exit 1; }
	@docker version >/dev/null 2>&1 || { \
		echo "The image needs docker's engine, which does not answer: see \`docker version\`." >&2; exit 1; }

UV_LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(UPGRADE)
lock: $(READY) ## lock requirements/*.txt anew; `make lock UPGRADE=--upgrade` takes the newest
	$(UV_LOCK) --extra fast --extra operator pyproject.toml --output-file requirements/runtime.txt
	$(UV_LOCK) --extra fast --extra operator pyproject.toml requirements/dev.in --constraints requirements/runtime.txt \
		--output-file requirements/dev.txt
	$(UV_LOCK) requirements/build.in --constraints requirements/dev.txt --output-file requirements/build.txt

clean: ## delete everything that make made
	rm -rf $(VENV) build dist *.egg-info htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.txt pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		python="$(PYTHON)"; [ -n "$$python" ] || python="$$(scripts/find-python)" || exit 1; \
		"$$python" -m venv --clear $(VENV); }
	@echo "Installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
