"""`rlvr r1`: the whole pipeline, as one plan that resumes."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.chain import planned_steps
from rlvr.config import ChainConfig, load_config
from rlvr.stages.chain_run import plan_text, run_steps

__all__ = ["run", "run_chain"]


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError."""
    return run_chain(load_config(ChainConfig, recipe, overrides))


def run_chain(config: ChainConfig) -> int:
    """Print the plan, do what is not done, print what it cost."""
    steps = planned_steps(config)
    print(plan_text(steps), flush=True)
    if config.plan_only:
        return 0
    seconds = run_steps(steps)
    total = f"{sum(seconds.values()):.0f} s for {len(seconds)} of them"
    print(f"\n{config.name}: all {len(steps)} steps are done; {total}")
    return 0
