"""Base classes of the recipes; each stage defines its own recipe in a `*_config.py`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rlvr.config.sections import (
    GenerationSection,
    ModelSection,
    NonNegativeInt,
    PathText,
    PromptSection,
    ResourcesSection,
    SandboxSection,
    Section,
)

__all__ = ["GenerationStageConfig", "StageConfig"]


class StageConfig(Section):
    """Base of all recipes; a subclass adds `stage`, the command that runs it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name of the run folder")
    output_dir: PathText = Field("runs", description="the run folder is output_dir/name")
    seed: NonNegativeInt = Field(0, description="seed of all random numbers")

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.output_dir) / self.name


class GenerationStageConfig(StageConfig):
    """Base of recipes whose stage generates with vLLM on Ray."""

    model: ModelSection
    prompt: PromptSection = PromptSection()
    rollout: GenerationSection = GenerationSection()
    resources: ResourcesSection = ResourcesSection()
    sandbox: SandboxSection = SandboxSection()

    @property
    def num_ranks(self) -> int:
        """Number of learner ranks."""
        return 0

    @property
    def colocated(self) -> bool:
        """Whether engines and learner never compute at the same time and share all cores."""
        return True
