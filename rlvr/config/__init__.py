"""Recipes: YAML files, overridden by `a.b=c` on the command line.

    sections            base classes of recipes, and the sections that stages share
    training_sections   those of stages that train
    changes             which keys may change when a run is continued
    loading             load a recipe and its overrides into a checked config

Each stage defines its recipe in its own package, in a `*_config.py`. Nothing here imports torch or
Ray, so that a mistake in a recipe is reported within a second.
"""

from __future__ import annotations

from rlvr.config.loading import load_config
from rlvr.config.sections import GenerationStageConfig, StageConfig

__all__ = ["GenerationStageConfig", "StageConfig", "load_config"]
