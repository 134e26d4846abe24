# Every target installs what it needs first (requirements/install.py), which costs nothing once it is done and may be
# interrupted at any time. FEDSILO_TORCH_INDEX names a package index of PyTorch builds (for CPU-only machines). For
# `make image`, BASE names another base image, and IMAGE_BUILD_ARGS holds further options of the build.

PYTHON ?= python3.11
BIN := .venv/bin
INSTALL := $(PYTHON) requirements/install.py
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' fedsilo/__init__.py)
REVISION = $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help demo setup test e2e image lint fmt bench lock clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile | expand -t 14

demo: ## install what the demo needs, and run it: four hospitals train a model on this machine
	@$(INSTALL) demo
	@$(BIN)/fedsilo demo

setup: ## install everything that the demo, the tests and the CDK app need
	@$(INSTALL) dev

test: lint ## the checks and the tests, with their coverage
	$(BIN)/python -m slipcover -m pytest -n auto --dist loadfile -m "not e2e"

e2e: setup ## the tests that take long: whole demos, the real CDK command line, FedML's packages
	@$(INSTALL) mlops checkov
	$(BIN)/python -m pytest -n auto --dist loadfile -m e2e

image: ## build the images of agents and trainers, with Docker, or with buildah where no Docker engine answers
	@engine=$$(docker info >/dev/null 2>&1 && echo docker || command -v buildah) \
		|| { echo "make image needs Docker, or buildah" >&2; exit 1; }; \
	for target in agent trainer; do \
		"$$engine" build --file workloads/image/Dockerfile --target $$target --tag fedsilo-$$target \
			$(BASE:%=--build-arg BASE=%) $(FEDSILO_TORCH_INDEX:%=--build-arg TORCH_INDEX=%) \
			--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(IMAGE_BUILD_ARGS) . || exit; \
	done

lint: setup ## formatting, lint, types, and the layers of the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup ## format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure fedsilo beside FedML's own gRPC backend
	@$(INSTALL) mlops
	$(BIN)/python -m bench

LOCK := uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	--no-emit-find-links --python-version 3.11

# FedML names pytest as a dependency, and nothing that runs needs it.
NO_PYTEST := --no-emit-package pytest --no-emit-package iniconfig --no-emit-package pluggy

lock: setup ## resolve the pinned packages again, after a change of dependencies
	$(LOCK) --all-extras --group dev pyproject.toml -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt --extra agent pyproject.toml -o requirements/agent.txt
	$(LOCK) -c requirements/dev.txt $(NO_PYTEST) --extra train pyproject.toml -o requirements/train.txt
	$(LOCK) -c requirements/dev.txt --extra train --extra local --group editable pyproject.toml -o requirements/demo.txt
	$(LOCK) -c requirements/dev.txt --group install -o requirements/install.txt
	cd requirements/mlops && $(LOCK) $(NO_PYTEST) --no-emit-package pytest-mock pyproject.toml -o ../mlops.txt
	$(LOCK) --no-config requirements/checkov.in -o requirements/checkov.txt
	$(LOCK) --no-config requirements/sbom.in -o requirements/sbom.txt
	npm install --package-lock-only --omit-lockfile-registry-resolved

clean: ## remove everything that was installed or made here
	rm -rf .venv .venvs node_modules cdk.out out
