"""What every stage's recipe has: a name, a folder, a seed; and what every stage that writes has."""

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
    """Base of all recipes; a subclass adds `stage`, the command that it is for."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the run folder")
    output_dir: PathText = Field("runs", description="the run folder is output_dir/name")
    seed: NonNegativeInt = Field(0, description="of everything that is drawn")

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.output_dir) / self.name


class GenerationStageConfig(StageConfig):
    """Base of recipes whose stage writes completions with vLLM on Ray."""

    model: ModelSection
    prompt: PromptSection = PromptSection()
    rollout: GenerationSection = GenerationSection()
    resources: ResourcesSection = ResourcesSection()
    sandbox: SandboxSection = SandboxSection()

    @property
    def num_ranks(self) -> int:
        """Learner processes beside the engines."""
        return 0

    @property
    def colocated(self) -> bool:
        """Engines and learner never compute at the same time, so that each may use all cores."""
        return True
