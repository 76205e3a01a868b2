# What can be done here. `./bootstrap` makes the machine ready first: README.md.

PYTHON := .venv/bin/python
PEERS ?= .peers
# Containers need root. An ordinary user's sudo writes nothing into the checkout.
KEEP := MINICONTAINER_RUNTIME,MINICONTAINER_PEERS,MINICONTAINER_TEST_STRICT,CI
OUTSIDE := PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/run/minicontainer-hypothesis
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo --preserve-env=$(KEEP) env $(OUTSIDE))
PYTEST := $(AS_ROOT) $(PYTHON) -m pytest -rsfE --no-fold-skipped $(if $(AS_ROOT),-p no:cacheprovider)

.PHONY: help demo test pure lint format peers bench soak clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: ## build a container step by step, then prove from /proc that it is one
	$(AS_ROOT) .venv/bin/minicontainer run --explain --prove busybox echo "hello from a container"

# Limits can only be proven where cgroup v2 has all controllers: tests/guests.py. A choice of tests is for here alone.
test: ## run all tests, here and then in virtual machines (ARGS="-k masked" and the like: here only)
	@start=$$(date +%s); $(PYTEST) $(ARGS) || exit; middle=$$(date +%s); \
	$(if $(ARGS)$(MINICONTAINER_RUNTIME),exit 0,.venv/bin/minicontainer vm test) || exit; end=$$(date +%s); \
	echo "tests: $$((end - start)) s, of which the virtual machines took $$((end - middle)) s"

pure: ## run the tests that need nothing of the machine
	$(PYTHON) -m pytest -q -m "not requires" -n auto $(ARGS)

lint: ## check style, types and who imports whom
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

format: ## let ruff write the style
	.venv/bin/ruff check --fix-only --quiet
	.venv/bin/ruff format

peers: ## get the real runc, podman, docker, skopeo and others to compare with, into .peers (nothing is installed)
	$(PYTHON) -m tests.peers.get $(PEERS)

bench: ## compare speed and memory with the peers, side by side in one run (ARGS=images or runtimes: only these)
	$(AS_ROOT) $(PYTHON) -m benchmarks $(ARGS)

soak: ## run the tests with all their repetitions
	$(PYTEST) --rounds=full --timeout=3600 $(ARGS)

clean: ## remove what the targets above have made here, .venv and .peers included
	rm -rf .venv .peers vm-results build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
