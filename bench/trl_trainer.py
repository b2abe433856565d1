"""TRL's GRPOTrainer with the same objective and batch as this trainer, configured for speed.

One generation per optimizer step, on-policy: TRL then needs no second pass for the old log-probs.
No gradient checkpointing (TRL's default is on), no logging, float32 throughout.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.workload import RewardFunction, Workload

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM")  # it is not used here
    from trl import GRPOConfig, GRPOTrainer

__all__ = ["TrlSettings", "make_trainer"]

# The defaults allocate most of the machine's memory, which takes minutes. A static KV cache
# (cache_implementation) was 2.4 to 3.3 times slower than the default.
CONTINUOUS_BATCHING = {"num_blocks": 1024, "max_batch_tokens": 512}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlSettings:
    """The settings of TRL that do not change its results."""

    num_threads: int
    rows: int  # of a micro-batch: per_device_train_batch_size
    continuous_batching: bool = False  # transformers' paged generation


def make_trainer(
    workload: Workload,
    settings: TrlSettings,
    *,
    num_steps: int,
    output_dir: Path,
    reward_functions: Sequence[RewardFunction] | None = None,
    callbacks: Sequence[Any] = (),
) -> GRPOTrainer:
    """Return a trainer that has not started."""
    path = workload.config.model.path
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    tasks = workload.tasks(num_steps)
    rows = [{**task.columns, "prompt": workload.prompt(task, tokenizer)} for task in tasks]
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype="float32"),
        reward_funcs=list(reward_functions or workload.reward_functions()),
        args=_arguments(workload, settings, num_steps=num_steps, output_dir=output_dir),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )


def _arguments(
    workload: Workload, settings: TrlSettings, *, num_steps: int, output_dir: Path
) -> GRPOConfig:
    config = workload.config
    accumulation, rest = divmod(workload.num_completions, settings.rows)
    assert rest == 0, f"{workload.num_completions} completions in micro-batches of {settings.rows}"
    return GRPOConfig(
        output_dir=str(output_dir),
        seed=config.seed,
        max_steps=num_steps,
        # all completions of a step in one generation
        per_device_train_batch_size=settings.rows,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation,
        num_generations=config.rollout.group_size,
        max_completion_length=config.rollout.max_tokens,
        shuffle_dataset=False,
        # the objective
        loss_type=config.loss.name,
        beta=config.loss.beta,
        epsilon=config.loss.clip_low,
        epsilon_high=config.loss.clip_high,
        num_iterations=1,
        scale_rewards="none" if config.loss.name == "dr_grpo" else "group",
        reward_weights=workload.reward_weights(),
        temperature=config.rollout.temperature,
        # the optimizer
        optim="adamw_torch_fused",
        learning_rate=config.learner.lr,
        lr_scheduler_type="constant",
        weight_decay=config.learner.weight_decay,
        max_grad_norm=config.learner.max_grad_norm,
        # the machine
        use_cpu=True,
        use_vllm=False,  # "colocate" crashes on the CPU at its first weight load
        use_transformers_continuous_batching=settings.continuous_batching,
        transformers_continuous_batching_config=CONTINUOUS_BATCHING,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        # no other work
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
