r"""The common workload: one recipe defines the prompts, rewards and sizes of both sides.

recipe + overrides --> rlvr grpo (unchanged)
                   \-> Workload --> TRL's GRPOConfig, dataset and reward functions
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import rewards
from rlvr.config import load_config
from rlvr.config.sections import RewardSection
from rlvr.data.inputs import Inputs
from rlvr.data.tasks import TaskStream
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.grpo_stage import check_inputs
from rlvr.types import Task

__all__ = ["RewardFunction", "Workload", "coin"]

RewardFunction = Callable[..., list[float | None]]


def coin(completions: Sequence[str], **columns: Any) -> list[float]:
    """Return 1 for an even number of characters, else 0, so that all groups have a signal."""
    return [float(len(text) % 2 == 0) for text in completions]


@dataclass(frozen=True)
class Workload:
    """A recipe with its overrides."""

    name: str
    recipe: Path
    overrides: tuple[str, ...]

    @cached_property
    def config(self) -> GrpoConfig:
        """The configuration of this trainer."""
        return load_config(GrpoConfig, self.recipe, self.overrides)

    @cached_property
    def inputs(self) -> Inputs:
        """Tasks and template, as this trainer opens them."""
        return check_inputs(self.config)

    @property
    def num_completions(self) -> int:
        """The number of completions of one optimizer step."""
        return self.config.rollout.tasks_per_step * self.config.rollout.group_size

    def tasks(self, num_steps: int) -> list[Task]:
        """Return the tasks of the first steps, in this trainer's order."""
        stream = TaskStream(self.inputs.tasks, seed=self.config.seed)
        return stream.take(num_steps * self.config.rollout.tasks_per_step)

    def prompt(self, task: Task, tokenizer: Any) -> str:
        """Return the text that the model continues."""
        return self.inputs.template.render(task, tokenizer=tokenizer).text

    def reward_functions(self) -> list[RewardFunction]:
        """Return the rewards in TRL's form, in the order of the recipe."""
        return [_function(name, section) for name, section in self.config.rewards.items()]

    def reward_weights(self) -> list[float]:
        """Return the weights of the reward functions, in the same order."""
        return [section.weight for section in self.config.rewards.values()]


def _function(name: str, section: RewardSection) -> RewardFunction:
    module, colon, attribute = name.partition(":")
    found = getattr(importlib.import_module(module), attribute) if colon else getattr(rewards, name)
    function: RewardFunction = partial(found, **section.options)
    function.__name__ = attribute or name  # TRL logs under this name
    return function
