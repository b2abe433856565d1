"""A template with the model's tokenizer: tasks to the tokens that an engine reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.config import GenerationStageConfig
from rlvr.data.inputs import Inputs
from rlvr.data.prompts import PromptTemplate
from rlvr.errors import ConfigError
from rlvr.types import Task

__all__ = ["TemplateEncoder", "make_encoder"]


@dataclass(slots=True)
class TemplateEncoder:
    """A template with its tokenizer; implements rlvr.grpo.rollouts.PromptEncoder."""

    template: PromptTemplate
    tokenizer: Any
    max_prompt_tokens: int
    think_prefilled: bool = False

    def encode(self, task: Task) -> NDArray[np.int32]:
        """[P] token ids."""
        return self.template.encode(self.tokenizer, task, max_prompt_tokens=self.max_prompt_tokens)

    def text(self, task: Task) -> str:
        """The prompt as the model reads it."""
        return self.template.render(task, tokenizer=self.tokenizer).text

    def completion_ids(self, text: str) -> NDArray[np.int32]:
        """[T] token ids, without special tokens."""
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)


def make_encoder(config: GenerationStageConfig, inputs: Inputs) -> TemplateEncoder:
    """Load the tokenizer and see that each prompt fits, before anything is trained."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            config.model.path, trust_remote_code=config.model.trust_remote_code
        )
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        raise ConfigError(f"model.path: no tokenizer of {config.model.path}: {why}") from None
    encoder = TemplateEncoder(inputs.template, tokenizer, config.rollout.max_prompt_tokens)
    first = inputs.template.render(inputs.tasks.task(0), tokenizer=tokenizer)
    encoder.think_prefilled = first.think_prefilled
    if inputs.tasks.num_tasks is not None:
        tasks = (inputs.tasks.task(i) for i in range(inputs.tasks.num_tasks))
        inputs.template.check(tokenizer, tasks, max_prompt_tokens=config.rollout.max_prompt_tokens)
    inputs.template.check(
        tokenizer, inputs.all_eval_tasks, max_prompt_tokens=config.rollout.max_prompt_tokens
    )
    return encoder
