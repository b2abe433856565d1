"""The preflight of a stage that generates: what can be known before an actor starts.

    tokenizer, template --> prompts of all tasks --> rewards on three completions
        --> golds, prompts shared by training and evaluation (GRPO)

It needs neither torch nor Ray. A reward process starts first and imports while the tokenizer loads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from rlvr.config import GenerationStageConfig
from rlvr.config.sections import TasksSection
from rlvr.data.inputs import Inputs, make_encoder
from rlvr.data.prompt_lengths import fit_prompts
from rlvr.data.prompts import GoldStyle
from rlvr.data.shared_prompts import describe_shared_prompts
from rlvr.data.tasks import TaskSource
from rlvr.grpo.grpo_config import EVAL_TASKS, GrpoConfig
from rlvr.grpo.reward_process import RewardProcess
from rlvr.grpo.reward_trial import RewardTrial
from rlvr.run.run_folder import RunFolder

__all__ = ["run_preflight"]


def run_preflight(
    config: GenerationStageConfig,
    folder: RunFolder,
    inputs: Inputs,
    sections: Mapping[str, TasksSection],
    *,
    say: Callable[[str], None] = print,
) -> Inputs:
    """Return the inputs with the encoder, and in `sources` the tasks whose prompts fit.

    sections: of the recipe, by the keys of `inputs.sources`. Raises ConfigError: no tokenizer, a
    template that does not suit it, prompts that are too long, a broken reward, wrong golds.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    log = folder.logs / "preflight.log"
    with RewardProcess(inputs.rewards, log=log, min_tier=config.sandbox.min_tier) as process:
        encoder = make_encoder(config, inputs)
        sources: dict[str, TaskSource] = {}
        for key, source in inputs.sources.items():
            policy = sections[key].long_prompts
            sources[key], line = fit_prompts(source, encoder, policy=policy, section=key)
            say(f"preflight: {line}")
        trial = RewardTrial(
            process=process,
            mix=inputs.mix,
            encoder=encoder,
            sources=sources,
            style=GoldStyle(config.prompt.answer_style),
        )
        fast = trial.try_each()
        if isinstance(config, GrpoConfig):
            say(str(trial.grade_golds(config.checks, fast=fast, seed=config.seed)))
            _say_shared_prompts(sources, say)
    return replace(inputs, encoder=encoder, sources=sources)


def _say_shared_prompts(sources: Mapping[str, TaskSource], say: Callable[[str], None]) -> None:
    training = {key: source for key, source in sources.items() if key != EVAL_TASKS}
    if held_out := sources.get(EVAL_TASKS):
        line = describe_shared_prompts(held_out, training, section=EVAL_TASKS)
        if line:
            say(f"preflight: {line}")
