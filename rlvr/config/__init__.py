"""Recipes: YAML files, overridden by `a.b=c` on the command line.

    sections   sections that stages share, each key with its type, default, unit and meaning
    recipe     base classes of all recipes
    loading    load a recipe and its overrides into a checked config

Each stage defines its recipe in its own package, in a `*_config.py`. Nothing here imports torch or
Ray, so that a mistake in a recipe is reported within a second.
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
