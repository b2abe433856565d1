"""`rlvr r1` and `rlvr ablate`: chains of stages, run as one plan that resumes."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.config import load_config
from rlvr.stages.pipeline.pipeline_config import AblateConfig, ChainConfig
from rlvr.stages.pipeline.pipeline_plan import planned_steps
from rlvr.stages.pipeline.pipeline_run import plan_text, run_steps

__all__ = ["run_ablate", "run_r1"]


def run_r1(recipe: str, overrides: Sequence[str]) -> int:
    """Run the whole R1 pipeline. Returns the exit status; raises RLVRError."""
    return _run_chain(load_config(ChainConfig, recipe, overrides))


def run_ablate(recipe: str, overrides: Sequence[str]) -> int:
    """Run the ablation: base, pure RL, SFT, and SFT then RL, with one evaluation for all."""
    return _run_chain(load_config(AblateConfig, recipe, overrides))


def _run_chain(config: ChainConfig) -> int:
    """Print the plan, run the steps that are not done, print the time of each."""
    steps = planned_steps(config)
    print(plan_text(steps), flush=True)
    if config.plan_only:
        return 0
    seconds = run_steps(steps)
    total = f"{sum(seconds.values()):.0f} s for {len(seconds)} of them"
    print(f"\n{config.name}: all {len(steps)} steps are done; {total}")
    return 0
