"""The recipe of a profile: a GRPO recipe, and how much of the run is traced."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rlvr.config.sections import NonNegativeInt, PositiveInt, Section
from rlvr.grpo.grpo_config import GrpoConfig

__all__ = ["ProfileConfig", "ProfileSection"]


class ProfileSection(Section):
    """Steps of a profile. One rollout batch is one step unless rollout.num_minibatches is above 1.

    The first batches are slower: kernels are chosen and caches are filled.
    """

    warmup_batches: NonNegativeInt = Field(2, description="rollout batches before the trace")
    num_batches: PositiveInt = Field(1, description="rollout batches in the trace")
    torch: bool = Field(
        False, description="also run PyTorch's profiler in the first learner rank, in all steps"
    )


class ProfileConfig(GrpoConfig):
    """A GRPO run that ends after the traced steps."""

    profile: ProfileSection = ProfileSection()

    @property
    def run_dir(self) -> Path:
        """The folder of the profile, beside that of the run."""
        return Path(self.output_dir) / f"{self.name}-profile"

    @property
    def first_traced_step(self) -> int:
        """Number of optimizer steps before the trace."""
        return self.profile.warmup_batches * self.rollout.num_minibatches

    @property
    def end_step(self) -> int:
        """Number of optimizer steps after the trace."""
        return self.first_traced_step + self.profile.num_batches * self.rollout.num_minibatches
