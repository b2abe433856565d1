# Each target sets up what it needs; `make setup` does just that. PYTHON=... chooses another interpreter.
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
SETUP := .venv/.made

.PHONY: setup base grpo r1 cold-start distill ablate test check bench bench-sandbox bench-rewards clean

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt scripts/setup.sh scripts/overrides.txt
	PYTHON=$(PYTHON) scripts/setup.sh
	touch $@

base: $(SETUP)  ## a small base model of the toy world
	$(BIN)/rlvr sft recipes/toy/base.yaml $(ARGS)

runs/toy-base/model: | $(SETUP)
	$(BIN)/rlvr sft recipes/toy/base.yaml

grpo: $(SETUP) runs/toy-base/model  ## R1-Zero in small; ARGS="seed=1 name=seed-1" overrides keys
	$(BIN)/rlvr grpo recipes/toy/zero.yaml $(ARGS)

r1: $(SETUP)  ## the whole R1 pipeline in small; ARGS="seed=1 output_dir=runs/seed-1" for another one
	$(BIN)/rlvr r1 recipes/toy/r1/chain.yaml $(ARGS)

cold-start: $(SETUP)  ## a part of it: R1-Zero, its right answers made readable, SFT on them
	$(BIN)/rlvr r1 recipes/toy/r1/chain.yaml only=[cold_start] $(ARGS)

distill: $(SETUP)  ## a part of it: the last model teaches a small one over an address on loopback
	$(BIN)/rlvr r1 recipes/toy/r1/chain.yaml only=[student_table] $(ARGS)

ablate: $(SETUP)  ## base, pure RL with and without the language reward, SFT, SFT then RL
	$(BIN)/rlvr ablate recipes/toy/ablate.yaml $(ARGS)

test: $(SETUP)
	$(BIN)/python -m pytest -q $(ARGS)

check: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

bench: $(SETUP) runs/toy-base/model  ## the same problem with TRL's GRPOTrainer and with ours
	$(BIN)/python -m bench.compare --model runs/toy-base/model $(ARGS)

bench-sandbox: $(SETUP)  ## programs a second in each tier, beside plain Python and bubblewrap
	$(BIN)/python -m bench.sandbox $(ARGS)

bench-rewards: $(SETUP)  ## accuracy beside TRL's accuracy_reward
	$(BIN)/python -m bench.rewards $(ARGS)

clean:
	rm -rf .venv runs
