# The verbs of this repository; `make help` lists them. CI calls nothing else.
#
# Every verb makes .venv, compiles the extensions and installs what it needs. Stamps in .venv
# remember what is done, so a second run begins at once.
#
#     PYTHON=python3.12   the interpreter .venv is made with; unset: the first that is >= 3.11
#     ARGS='-k lease'     handed on to pytest, to the demo or to the benchmarks
#     PYTHONS='...'       the interpreters that `make wheels` builds and tests wheels for
#     WHEELS=folder       where `make judge` finds wheels that were built elsewhere
#     JOBS=4              processes that share the tests; 0: none but this one, as a debugger needs
#     GATE=--release      the gate of a release: a waiver must stand in CHANGELOG.md as well
#     TAG=v0.1.0          the tag that `make tag` judges
#     BASE=v0.1.0         what `make compare` holds the tree against; unset: the last commit
#     FROM=run.json       the run that `make figures` publishes; unset: that of the last report

SHELL := /bin/sh
PYTHON ?=
PYTHONS ?= python3.11 python3.12 python3.13
WHEELS ?= dist
ARGS ?=
JOBS ?= 4
GATE ?= --gate
BASE ?= HEAD
FROM ?= benchmarks/report/run.json

VENV := .venv
PY := $(VENV)/bin/python
# twice quiet: errors only
PIP := $(PY) -m pip --quiet --quiet --disable-pip-version-check --no-input
STAMPS := $(VENV)/.stamps

SOURCES := $(wildcard src/ostiary/*.pyx src/ostiary/*.pxd src/ostiary/*/*.pyx src/ostiary/*/*.pxd)
COMPILED := ostiary._pool ostiary._wire ostiary._io

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python compiles what is imported, a tenth of what is installed.
export PIP_NO_COMPILE := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test peers setup build sync fix check bench gate compare figures docs docs-serve screens wheel wheels \
	sbom tag coverage api judge clean check-bandit check-docker check-workflows \
	check-lint check-format check-cython check-mypy check-pyright check-stubs check-sync check-imports

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(STAMPS)/built $(STAMPS)/examples ## 500 agents against the services of all five domains, a secret scan, the figures
	@$(PY) -m examples.demo $(ARGS)

test: $(STAMPS)/built $(STAMPS)/test $(STAMPS)/node ## the whole test suite
	@# they wait more than they compute: more processes than cores, each taking what is left
	@$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

peers: $(STAMPS)/peers ## environments of peers that cannot live in ours; without, their tests skip

setup: $(STAMPS)/built $(STAMPS)/test $(STAMPS)/check $(STAMPS)/bench $(STAMPS)/docs $(STAMPS)/wheel ## .venv with everything in it
	@echo "ready: . $(VENV)/bin/activate"

build: $(STAMPS)/built ## compile the extensions in place

sync: $(STAMPS)/check ## write each _sync.py from its _async.py
	@$(PY) tools/unasync.py

fix: $(STAMPS)/check sync ## sort imports, lay out, mend what ruff can mend
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

# --- checks: `make -k check` goes on after a failure -----------------------------------------

check: check-lint check-format check-cython check-mypy check-pyright check-stubs check-sync check-imports check-bandit check-docker check-workflows ## every check but the suite
	@echo "check: all clean"

check-lint: $(STAMPS)/check
	$(PY) -m ruff check .

check-format: $(STAMPS)/check
	$(PY) -m ruff format --check .

check-cython: $(STAMPS)/check
	@# it looks for pycodestyle on the PATH
	PATH="$(abspath $(VENV)/bin):$$PATH" cython-lint src

# it reads the tests and the benchmarks, and so what they import
check-mypy: $(STAMPS)/built $(STAMPS)/check $(STAMPS)/test $(STAMPS)/bench
	$(PY) -m mypy

check-pyright: $(STAMPS)/built $(STAMPS)/check $(STAMPS)/test
	$(VENV)/bin/pyright

check-stubs: $(STAMPS)/built $(STAMPS)/check
	$(PY) -m mypy.stubtest --concise --allowlist tests/typing/stubtest-allowlist.txt $(COMPILED)

check-sync: $(STAMPS)/check
	$(PY) tools/unasync.py --check

check-imports: $(STAMPS)/built $(STAMPS)/test
	$(PY) -m pytest -q tests/meta/test_import_direction.py

check-bandit: $(STAMPS)/check
	$(PY) -m bandit --quiet --recursive --configfile pyproject.toml src tools

# the linter of Dockerfiles is no more than a linter: nothing here builds an image
check-docker: $(STAMPS)/check
	$(VENV)/bin/hadolint Dockerfile

check-workflows: $(STAMPS)/check
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(VENV)/bin/zizmor --offline --quiet --no-progress .github/workflows

# --- figures -----------------------------------------------------------------------------------

bench: $(STAMPS)/built $(STAMPS)/bench ## the figures beside their floors and peers: benchmarks/report/index.html
	@$(PY) -m benchmarks --report benchmarks/report $(ARGS)
	@$(PY) -m pytest -q benchmarks $(if $(findstring --smoke,$(ARGS)),--benchmark-disable,)

# a peer that is not there has no figure, and a target without one fails
gate: $(STAMPS)/built $(STAMPS)/bench $(STAMPS)/peers ## fail when a figure misses its target without a waiver
	@$(PY) -m benchmarks $(GATE) --report benchmarks/report $(ARGS)

# its library is built by our compiler and measured by our cases, in the same rounds as ours
compare: $(STAMPS)/built $(STAMPS)/bench ## which of our figures changed since the commit BASE, round by round
	@rm -rf build/base && git worktree prune
	@git worktree add --quiet --detach build/base $(BASE)
	@cd build/base && $(abspath $(PY)) setup.py --quiet build_ext --inplace
	@$(PY) -m benchmarks --base build/base --report benchmarks/report $(ARGS)

figures: $(STAMPS)/built ## put the figures of the run FROM into README.md and docs/
	@$(PY) -m benchmarks publish $(FROM)

coverage: $(STAMPS)/built $(STAMPS)/test $(STAMPS)/node $(STAMPS)/coverage ## the test suite under coverage; fail below what pyproject.toml asks for
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest -n $(JOBS) --dist worksteal $(ARGS)
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report

# --- what leaves the repository ----------------------------------------------------------------

# The theme announces its successor on every build.
docs docs-serve: export NO_MKDOCS_2_WARNING := 1

docs: $(STAMPS)/built $(STAMPS)/docs ## build the site into site/
	@# not --quiet: what is not said is not counted, and --strict then passes over warnings
	@$(PY) -m mkdocs build --strict
	@echo "docs: site/index.html"

docs-serve: $(STAMPS)/built $(STAMPS)/docs ## show the site while it is written
	@$(PY) -m mkdocs serve

# what the command line prints, as the site shows it
screens: $(STAMPS)/built ## draw the pictures of commands anew, into docs/assets/screens/
	@$(PY) tools/screens.py $(ARGS)

wheel: $(STAMPS)/wheel ## the sdist, and a wheel built from that sdist, in dist/
	@$(PY) tools/wheels.py $(ARGS)

judge: $(STAMPS)/wheel ## fail when a wheel below WHEELS is too large or holds what it should not
	@$(PY) tools/wheels.py --judge $(WHEELS)

wheels: $(STAMPS)/wheel ## a wheel for each of PYTHONS, tested in an empty environment
	@$(PY) tools/wheels.py --test $(ARGS) $(PYTHONS)

sbom: $(STAMPS)/wheel ## what a wheel brings along and was built with, as CycloneDX, in dist/
	@$(PY) -m tools.sbom

api: $(STAMPS)/test ## fail when the public API breaks what the last release promised
	@$(PY) -m tools.api $(ARGS)

tag: $(STAMPS)/venv ## fail unless TAG, the package and CHANGELOG.md name the same version
	@$(PY) tools/tag.py $(TAG)

clean: ## delete what a build made (not .venv)
	rm -rf build dist site benchmarks/report src/*.egg-info .coverage .coverage.* htmlcov \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks $(STAMPS)/installed $(STAMPS)/built
	find src tests tools benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
	find src -name '*.so' -delete

# --- stamps ------------------------------------------------------------------------------------

$(STAMPS)/venv:
	@python=$$(tools/preflight.sh $(PYTHON)) || exit 2; \
	echo "making $(VENV) with $$python"; \
	"$$python" -m venv $(VENV)
	@# dependency groups need pip >= 25.1
	@$(PIP) install --upgrade 'pip>=25.1'
	@mkdir -p $(STAMPS) && touch $@

# The build's own requirements stay in .venv, so that a changed .pyx costs one compilation and no
# download. `make wheel` builds in isolation.
$(STAMPS)/installed: pyproject.toml setup.py $(STAMPS)/venv
	@tools/preflight.sh $(PYTHON) >/dev/null
	@echo "installing ostiary, editable, with its extras"
	@$(PIP) install --group build
	@$(PIP) install --no-build-isolation --editable '.[cli,dev,langchain,mcp,otel,spiffe]'
	@touch $@

$(STAMPS)/built: $(SOURCES) $(STAMPS)/installed
	@echo "compiling the extensions"
	@$(PY) setup.py --quiet build_ext --inplace
	@touch $@

$(STAMPS)/test: pyproject.toml $(STAMPS)/venv
	@echo "installing what the tests need"
	@$(PIP) install --group test --group interop --group langchain
	@touch $@

$(STAMPS)/peers: pyproject.toml $(STAMPS)/venv
	@echo "making .venv/litellm for LiteLLM and sage-sanctum-sdk"
	@$(PY) -m venv $(VENV)/litellm
	@$(PIP) --python $(VENV)/litellm/bin/python install --group peers
	@echo "making .venv/symbiont and .venv/symbiont-new for symbiont-sdk, 0.3.0 and 1.16.0"
	@$(PY) -m venv $(VENV)/symbiont
	@$(PIP) --python $(VENV)/symbiont/bin/python install --group peers-symbiont
	@$(PY) -m venv $(VENV)/symbiont-new
	@$(PIP) --python $(VENV)/symbiont-new/bin/python install --group peers-symbiont-new
	@touch $@

# Peers that come from npm, into .venv/node. Without npm, or a way to its registry, the tests that
# need them are skipped.
NODE_PEERS := @microsoft/sarif-multitool@5.7 @modelcontextprotocol/server-everything@2026.8.31 \
	@modelcontextprotocol/server-filesystem@2026.8.31 @modelcontextprotocol/conformance@0.1.16 node@22

$(STAMPS)/node: Makefile $(STAMPS)/venv
	@if ! command -v npm >/dev/null; then echo "npm is not installed: some peers are left out"; \
	else echo "installing peers with npm"; npm install --silent --no-fund --no-audit --no-save \
		--prefix $(VENV)/node $(NODE_PEERS) && touch $@ || echo "npm failed: some peers are left out"; fi

$(STAMPS)/examples $(STAMPS)/check $(STAMPS)/bench $(STAMPS)/docs $(STAMPS)/wheel $(STAMPS)/coverage: pyproject.toml $(STAMPS)/venv
	@echo "installing group $(notdir $@)"
	@$(PIP) install --group $(notdir $@)
	@touch $@
