# Each target first runs `make setup` if needed. PYTHON=... selects the interpreter.
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
SETUP := .venv/.made

.PHONY: setup base grpo r1 cold-start distill ablate test test-fast check bench bench-growth bench-sandbox bench-rewards clean

setup: $(SETUP)

$(SETUP): pyproject.toml $(wildcard constraints/*.txt) scripts/setup.sh scripts/overrides.txt
	PYTHON=$(PYTHON) scripts/setup.sh
	touch $@

base: $(SETUP)  ## pretrain the base model of the toy world
	$(BIN)/rlvr sft recipes/toy/base.yaml $(ARGS)

runs/toy-base/model: | $(SETUP)
	$(BIN)/rlvr sft recipes/toy/base.yaml

grpo: $(SETUP) runs/toy-base/model  ## R1-Zero on a small scale; ARGS="seed=1 name=seed-1" overrides keys
	$(BIN)/rlvr grpo recipes/toy/zero.yaml $(ARGS)

r1: $(SETUP)  ## the whole R1 pipeline on a small scale; ARGS="seed=1 output_dir=runs/seed-1" for another run
	$(BIN)/rlvr r1 recipes/toy/r1/chain.yaml $(ARGS)

cold-start: $(SETUP)  ## part of it: R1-Zero, its right answers made readable, SFT on them
	$(BIN)/rlvr r1 recipes/toy/r1/chain.yaml only=[cold_start] $(ARGS)

distill: $(SETUP)  ## part of it: distill the final model, served on loopback, into a small one
	$(BIN)/rlvr r1 recipes/toy/r1/chain.yaml only=[student_table] $(ARGS)

ablate: $(SETUP)  ## compare base, pure RL with and without the language reward, SFT, SFT then RL
	$(BIN)/rlvr ablate recipes/toy/ablate.yaml $(ARGS)

# files that share actors in one process (tests/conftest.py), the long ones of tests/integration first
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadscope --no-loadscope-reorder

test: $(SETUP)  ## all tests, in two processes
	$(PYTEST) $(ARGS)

test-fast: $(SETUP)  ## all but those of real actors, and those that take seconds each
	$(PYTEST) --ignore tests/integration -m "not slow" $(ARGS)

check: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

bench: $(SETUP) runs/toy-base/model  ## compare the speed of this trainer with TRL's GRPOTrainer
	$(BIN)/python -m bench.compare --model runs/toy-base/model $(ARGS)

bench-sandbox: $(SETUP)  ## programs per second in each tier, compared with plain Python and bubblewrap
	$(BIN)/python -m bench.sandbox $(ARGS)

bench-growth: $(SETUP)  ## step time against group size, length, engines and model size
	$(BIN)/python -m bench.growth $(ARGS)

bench-rewards: $(SETUP)  ## speed of accuracy compared with TRL's accuracy_reward
	$(BIN)/python -m bench.rewards $(ARGS)

clean:
	rm -rf .venv runs
