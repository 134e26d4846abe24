# `make setup` installs everything into .venv and node_modules; every other target depends on it and costs
# nothing once it is done. FEDSILO_TORCH_INDEX names a package index of PyTorch builds (for CPU-only machines).

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test e2e lint bench lock clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.txt requirements-torch.txt package-lock.json pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(shell grep -o '^uv==[0-9.]*' requirements.txt)
	$(BIN)/python -m pip install --quiet --compile $(if $(FEDSILO_TORCH_INDEX),--index-url $(FEDSILO_TORCH_INDEX)) -r requirements-torch.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	npm ci --silent
	$(BIN)/python -m compileall -q app.py fedsilo stacks workloads || true
	touch $@

demo: setup
	$(BIN)/fedsilo demo

test: setup lint
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not deploy"

# The CDK command line deploys and destroys a federation, against an AWS that moto plays; the packages for FedML's
# platform learn, and its agent logs in, in an environment with what the image for it holds.
e2e: setup tests/checkov/.venv/.installed tests/mlops/.venv/.installed
	$(BIN)/python -m pytest -n auto --dist loadfile -m deploy

tests/checkov/.venv/.installed: tests/checkov/requirements.txt $(VENV)/.installed
	$(PYTHON) -m venv tests/checkov/.venv
	cd tests/checkov && uv pip install --quiet --no-config --python .venv/bin/python --no-deps --require-hashes -r requirements.txt
	touch $@

tests/mlops/.venv/.installed: requirements-mlops.txt requirements-torch-mlops.txt requirements-torch.txt $(VENV)/.installed
	$(PYTHON) -m venv tests/mlops/.venv
	tests/mlops/.venv/bin/python -m pip install --quiet --compile $(if $(FEDSILO_TORCH_INDEX),--index-url $(FEDSILO_TORCH_INDEX)) -r requirements-torch-mlops.txt
	uv pip install --quiet --no-config --python tests/mlops/.venv/bin/python --no-deps --require-hashes --compile-bytecode -r requirements-mlops.txt
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Side by side with FedML's own gRPC backend, which lives in an environment of its own with FedML's stock pins.
bench: setup bench/.venv/.installed
	$(BIN)/python -m bench

bench/.venv/.installed: bench/fedml_grpc/requirements.txt requirements-torch.txt $(VENV)/.installed
	$(PYTHON) -m venv bench/.venv
	bench/.venv/bin/python -m pip install --quiet --compile $(if $(FEDSILO_TORCH_INDEX),--index-url $(FEDSILO_TORCH_INDEX)) -r requirements-torch.txt
	cd bench/fedml_grpc && uv pip install --quiet --python ../.venv/bin/python --no-deps --require-hashes --compile-bytecode -r requirements.txt
	touch $@

# Resolve the pinned, hashed dependencies again after a change to pyproject.toml.
lock: setup
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--no-emit-find-links --python-version 3.11 --all-extras --group dev pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--no-emit-find-links --python-version 3.11 --extra train --extra agent pyproject.toml -o requirements-train.txt
	cd bench/fedml_grpc && uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --python-version 3.11 pyproject.toml -o requirements.txt
	cd workloads/image/mlops && uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --python-version 3.11 pyproject.toml -o ../../../requirements-mlops.txt
	cd tests/checkov && uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-config \
		--no-emit-index-url --no-emit-find-links --python-version 3.11 requirements.in -o requirements.txt
	npm install --package-lock-only --omit-lockfile-registry-resolved

clean:
	rm -rf $(VENV) bench/.venv tests/checkov/.venv tests/mlops/.venv node_modules cdk.out out
