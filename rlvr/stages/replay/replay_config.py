"""The recipe of a replay: that of a GRPO run, and the step to repeat."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rlvr.config.sections import PositiveInt, Section
from rlvr.grpo.grpo_config import GrpoConfig

__all__ = ["ReplayConfig", "ReplaySection"]


class ReplaySection(Section):
    """The step of `learner.from_rollouts` that is repeated."""

    step: PositiveInt = Field(description="step whose stored batch is trained again")


class ReplayConfig(GrpoConfig):
    """The learner half of a run for one step."""

    replay: ReplaySection

    @property
    def replayed_run(self) -> Path:
        """The folder of the run whose step is repeated."""
        assert self.learner.from_rollouts is not None, "replay_stage.recipe_of sets it"
        return Path(self.learner.from_rollouts)

    @property
    def run_dir(self) -> Path:
        """The folder of the replay, beside that of the run."""
        return Path(f"{self.replayed_run}-replay")
