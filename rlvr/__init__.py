"""The trainer: GRPO from a recipe to a model. `rlvr.cli` is the entry point."""
