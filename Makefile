# Every target installs what it needs first (requirements/install.py), which costs nothing once it is done and may be
# interrupted at any time. FEDSILO_TORCH_INDEX names a package index of PyTorch builds (for CPU-only machines).

PYTHON ?= python3.11
BIN := .venv/bin
INSTALL := $(PYTHON) requirements/install.py
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help demo setup test e2e lint fmt bench lock clean

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

lock: setup ## resolve the pinned packages again, after a change of dependencies
	$(LOCK) --all-extras --group dev pyproject.toml -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt --extra train --extra agent pyproject.toml -o requirements/train.txt
	$(LOCK) -c requirements/dev.txt --extra train --extra local --group editable pyproject.toml -o requirements/demo.txt
	$(LOCK) -c requirements/dev.txt --group install -o requirements/install.txt
	cd requirements/mlops && $(LOCK) pyproject.toml -o ../mlops.txt
	$(LOCK) --no-config requirements/checkov.in -o requirements/checkov.txt
	npm install --package-lock-only --omit-lockfile-registry-resolved

clean: ## remove everything that was installed or made here
	rm -rf .venv .venvs node_modules cdk.out out
