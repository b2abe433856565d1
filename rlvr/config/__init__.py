"""The one schema of all stages: what a recipe may say for each command.

A recipe is YAML; `a.b=c` on the command line overrides it. Free of torch and Ray, so that a mistake
is answered in well under a second.

    sections    the parts: each key with its type, default, unit and meaning
    stage       what all recipes share, and all whose stage writes completions
    grpo, sft   one recipe each
    loading     a file and overrides -> a checked config, or one line on what is wrong
"""

from __future__ import annotations

from rlvr.config.chain import AblateConfig, ChainConfig
from rlvr.config.clean import CleanConfig
from rlvr.config.distill import DistillConfig
from rlvr.config.evaluation import CompareConfig, EvaluateConfig
from rlvr.config.export import ExportConfig
from rlvr.config.grpo import GrpoConfig
from rlvr.config.loading import load_config
from rlvr.config.sample import KeepSection, SampleConfig
from rlvr.config.sections import (
    CheckpointSection,
    EvalSection,
    GatesSection,
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
    WritingSection,
)
from rlvr.config.serve import ServeConfig, ServeSection, VariantSection
from rlvr.config.sft import SftConfig
from rlvr.config.stage import StageConfig, WriterConfig

__all__ = [
    "AblateConfig",
    "ChainConfig",
    "CheckpointSection",
    "CleanConfig",
    "CompareConfig",
    "DistillConfig",
    "EvalSection",
    "EvaluateConfig",
    "ExportConfig",
    "GatesSection",
    "GrpoConfig",
    "KeepSection",
    "LearnerSection",
    "LossSection",
    "ModelSection",
    "PromptSection",
    "ResourcesSection",
    "RewardSection",
    "RolloutSection",
    "SampleConfig",
    "SamplingSection",
    "SandboxSection",
    "ServeConfig",
    "ServeSection",
    "SftConfig",
    "StageConfig",
    "TasksSection",
    "TrackersSection",
    "VariantSection",
    "WriterConfig",
    "WritingSection",
    "load_config",
]
