"""The one schema of all stages: what a recipe may say for each command.

A recipe is YAML; `a.b=c` on the command line overrides it. Free of torch and Ray, so that a mistake
is answered in well under a second.

    sections    the parts: each key with its type, default, unit and meaning
    stage       what all recipes share, and all whose stage writes completions
    grpo, sft   one recipe each
    loading     a file and overrides -> a checked config, or one line on what is wrong
"""

from __future__ import annotations

from rlvr.config.loading import load_config
from rlvr.config.recipe import GenerationStageConfig, StageConfig
from rlvr.config.sections import (
    CheckpointSection,
    ChecksSection,
    EvalSection,
    GenerationSection,
    LearnerSection,
    LossSection,
    ModelSection,
    PromptSection,
    ResourcesSection,
    RewardSection,
    RolloutSection,
    SamplingSection,
    SandboxSection,
    TasksSection,
    TrackersSection,
)

__all__ = [
    "CheckpointSection",
    "ChecksSection",
    "EvalSection",
    "GenerationSection",
    "GenerationStageConfig",
    "LearnerSection",
    "LossSection",
    "ModelSection",
    "PromptSection",
    "ResourcesSection",
    "RewardSection",
    "RolloutSection",
    "SamplingSection",
    "SandboxSection",
    "StageConfig",
    "TasksSection",
    "TrackersSection",
    "load_config",
]
