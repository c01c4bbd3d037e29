# Every command of the project; `make` alone lists them. Two environments: .venv serves and has no TensorFlow,
# .venv-dev does everything else. Each is made once and made anew only when its lock in requirements/ changes.

PYTHON ?= python3
RECIPE ?= cnn
SERVE := .venv/bin
DEV := .venv-dev/bin

# The runtime that .venv has; for a new one, gpu where an NVIDIA driver answers (its wheels exist for x86-64 alone).
RUNTIME ?= $(or $(patsubst .venv/%.lock,%,$(wildcard .venv/cpu.lock .venv/gpu.lock)),$(shell \
    [ "$$(uname -sm)" = "Linux x86_64" ] && nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu))

.DEFAULT_GOAL := help
.PHONY: help serve test test-web test-clients train recipes check bench docs image lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

serve: .venv/project ## start the service; DIGITS_HOST, DIGITS_PORT, ... set it up; RUNTIME=cpu|gpu picks the runtime
	@exec $(SERVE)/digits serve $(ARGS)

test: .venv-dev/project ## run every test; PYTEST_ARGS='-k name -x' picks some
	@exec $(DEV)/python -m pytest $(PYTEST_ARGS)

test-web: .venv-dev/project ## the page's tests, in Chromium: CHROMIUM=/path/to/it if it is not on the path
	@exec $(DEV)/python -m pytest -o norecursedirs='.*' tests/web $(PYTEST_ARGS)

test-clients: .venv-dev/project ## test with real clients of the Open Inference Protocol, each in an environment of its own
	@exec $(DEV)/python tests/clients/run.py

train: .venv-dev/project ## train, check and publish a model: RECIPE=cnn ARGS='--epochs 5'
	@exec $(DEV)/digits train --recipe $(RECIPE) $(ARGS)

recipes: .venv-dev/project ## train every recipe of the source documents and write the table of docs/recipes.md
	@exec $(DEV)/python -m training.recipe_table $(ARGS)

check: .venv-dev/project ## formatting, lint and types
	$(DEV)/ruff format --check .
	$(DEV)/ruff check .
	$(DEV)/mypy --strict

bench: .venv-dev/project ## measure the service under load; ARGS='...' go to the benchmark
	@exec $(DEV)/python -m benchmarks $(ARGS)

docs: .venv-dev/project ## build the documentation as a site, build/site/index.html
	@exec $(DEV)/python -m mkdocs build --strict --quiet $(ARGS)

image: ## build the container image for the CPU (README: for the GPU)
	docker compose build $(ARGS)

clean: ## remove the environments and what the tools cached; models, runs and reports stay
	rm -rf .venv .venv-dev .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# dev.txt first: the other locks take its versions, so what is tested is what is served.
COMPILE = $(DEV)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url $(ARGS)

lock: .venv-dev/project ## write requirements/*.txt anew from pyproject.toml; ARGS=--upgrade takes the newest versions
	$(COMPILE) --extra cpu --extra training --extra test --extra dev -o requirements/dev.txt pyproject.toml
	$(COMPILE) --extra cpu -c requirements/dev.txt -o requirements/cpu.txt pyproject.toml
	$(COMPILE) --extra gpu -c requirements/dev.txt -o requirements/gpu.txt pyproject.toml
	$(COMPILE) --extra cpu --extra test -c requirements/dev.txt -o requirements/service-test.txt pyproject.toml
	printf 'tritonclient[http]\npytest\n' | $(COMPILE) -o requirements/clients/tritonclient.txt -
	printf 'kserve\npytest\n' | $(COMPILE) -o requirements/clients/kserve.txt -
	printf 'open-inference-openapi\npytest\n' | $(COMPILE) -o requirements/clients/open_inference.txt -
	printf 'hatchling\neditables\n' | $(COMPILE) -c requirements/dev.txt -o requirements/build.txt -

# An environment holds exactly its lock: it is emptied first, so that both runtimes never meet in one.
define make_environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "This needs Python 3.11 or newer, and $(PYTHON) says: $$($(PYTHON) --version 2>&1)" >&2; \
	    echo "Name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Installing $< into $(@D) (once; a minute or so)"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $< -r requirements/build.txt
	@touch $@
endef

.venv/$(RUNTIME).lock: requirements/$(RUNTIME).txt requirements/build.txt
	$(make_environment)

.venv-dev/dev.lock: requirements/dev.txt requirements/build.txt
	$(make_environment)

.venv/project: .venv/$(RUNTIME).lock
.venv-dev/project: .venv-dev/dev.lock
.venv/project .venv-dev/project: pyproject.toml
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
