r"""Compare the gradient with TRL's: one batch, the same weights, both losses.

    TRL generates, grades --> its tensors --> GRPOTrainer.compute_loss --> gradient
                          \-> Groups --> assign_advantages, pack, policy_loss --> gradient

The old log-probs are the policy's plus seeded noise, so that ratios differ from 1 and both clips
take effect.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.trl_trainer import TrlSettings, make_trainer
from bench.workload import Workload
from rlvr.errors import CheckError
from rlvr.grpo.advantages import AdvantageScale, assign_advantages
from rlvr.grpo.batching import make_batch
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.learner.logprobs import completion_logprobs
from rlvr.learner.losses import policy_loss
from rlvr.learner.packed_attention import use_packed_attention
from rlvr.learner.packing import pack_rows
from rlvr.types import Completion, FinishReason, Group, RewardResult, Rollout, Task

__all__ = ["GradientComparison", "compare_gradients"]

MAX_ERROR = 1e-4  # |ours - TRL's| / |TRL's| of each parameter, in float32
NOISE_STD = 0.25  # of the old log-probs, in nats
Gradient = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientComparison:
    """The difference between the two gradients of a batch."""

    num_completions: int
    num_tokens: int
    clip_frac: float  # of the tokens, as counted by this trainer
    loss_trl: float
    loss_ours: float
    max_advantage_error: float
    max_error: float  # relative error of the worst parameter
    worst_parameter: str

    def check(self) -> None:
        """Raise CheckError if a parameter's gradient differs by more than 1e-4."""
        if not self.max_error <= MAX_ERROR:
            raise CheckError(
                f"TRL and this trainer compute different gradients: relative error "
                f"{self.max_error:.2g} at {self.worst_parameter} (limit {MAX_ERROR:g}); "
                f"losses {self.loss_trl:.6g} and {self.loss_ours:.6g}; a comparison of speed would "
                "be meaningless"
            )


def compare_gradients(
    workload: Workload, *, num_tasks: int = 8, ours: Workload | None = None
) -> GradientComparison:
    """Compute both gradients for the completions of `num_tasks` tasks.

    `ours` is this trainer's workload if it differs from TRL's, to show that the check can fail.
    """
    small = replace(
        workload, overrides=(*workload.overrides, f"rollout.tasks_per_step={num_tasks}")
    )
    settings = TrlSettings(num_threads=1, rows=small.num_completions)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(small, settings, num_steps=1, output_dir=Path(folder))
        batch = _trl_batch(trainer, small)
        loss_trl, theirs = _trl_gradient(trainer, batch)
    config = (ours or workload).config
    scale: AdvantageScale = "none" if config.loss.name == "dr_grpo" else "std"
    groups = assign_advantages(_groups(small, batch), scale=scale)
    loss_ours, clip_frac, found = _our_gradient(trainer.model, config, groups)
    errors = {name: _relative_error(found[name], theirs[name]) for name in theirs}
    worst = max(errors, key=errors.__getitem__)
    advantages = np.array([r.advantage for group in groups for r in group.rollouts])
    return GradientComparison(
        num_completions=len(advantages),
        num_tokens=int(batch["completion_mask"].sum()),
        clip_frac=clip_frac,
        loss_trl=loss_trl,
        loss_ours=loss_ours,
        max_advantage_error=float(np.abs(advantages - batch["advantages"].numpy()).max()),
        max_error=errors[worst],
        worst_parameter=worst,
    )


def _relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-12))


def _trl_batch(trainer: Any, workload: Workload) -> dict[str, Tensor]:
    """Return TRL's completions, rewards, advantages and noisy old log-probs; rows in groups."""
    size = workload.config.rollout.group_size
    rows = [row for row in trainer.train_dataset for _ in range(size)]
    rewards: list[Tensor] = []
    calculate = trainer._calculate_rewards

    def calculate_and_keep(*args: Any) -> Tensor:
        rewards.append(calculate(*args))
        return rewards[-1]

    trainer._calculate_rewards = calculate_and_keep
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    batch = dict(trainer._generate_and_score_completions(rows))
    weights = torch.tensor(workload.reward_weights())
    batch["rewards"] = (rewards[0] * weights).sum(1)
    batch["old_per_token_logps"] = _noisy_logprobs(trainer, batch, seed=workload.config.seed)
    return batch


def _noisy_logprobs(trainer: Any, batch: Mapping[str, Tensor], *, seed: int) -> Tensor:
    token_ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    width = batch["completion_ids"].shape[1]
    with torch.no_grad():
        logprobs, *_ = trainer._get_per_token_logps_and_entropies(
            trainer.model, token_ids, mask, width
        )
    noise = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(seed))
    return logprobs + NOISE_STD * noise


def _trl_gradient(trainer: Any, batch: Mapping[str, Tensor]) -> tuple[float, Gradient]:
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), _take_gradient(trainer.model)


def _take_gradient(model: Any) -> Gradient:
    taken = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return taken


def _groups(workload: Workload, batch: Mapping[str, Tensor]) -> list[Group]:
    """Return the batch as this trainer's engines and rewards would produce it."""
    size = workload.config.rollout.group_size
    rollouts = list(_rollouts(batch))
    prompts = _rows(batch["prompt_ids"], batch["prompt_mask"])
    firsts = range(0, len(rollouts), size)
    return [
        Group(
            task=Task(id=str(first), prompt=""),
            prompt_token_ids=prompts[first].astype(np.int32),
            rollouts=tuple(rollouts[first : first + size]),
        )
        for first in firsts
    ]


def _rollouts(batch: Mapping[str, Tensor]) -> Iterator[Rollout]:
    mask = batch["completion_mask"]
    token_ids = _rows(batch["completion_ids"], mask)
    logprobs = _rows(batch["old_per_token_logps"], mask)
    for tokens, row_logprobs, reward in zip(
        token_ids, logprobs, batch["rewards"].tolist(), strict=True
    ):
        completion = Completion.sampled(
            tokens.astype(np.int32),
            row_logprobs.astype(np.float32),
            text="",
            finish_reason=FinishReason.STOP,
            policy_version=0,
        )
        yield Rollout(completion=completion, reward=RewardResult(value=reward, grades={}))


def _rows(values: Tensor, mask: Tensor) -> list[NDArray[Any]]:
    return [row[keep].numpy() for row, keep in zip(values, mask.bool(), strict=True)]


def _our_gradient(
    model: Any, config: GrpoConfig, groups: list[Group]
) -> tuple[float, float, Gradient]:
    """Return loss, share of clipped tokens and gradient, over several micro-batches as in a run."""
    batch = make_batch(
        groups,
        loss=config.loss.name,
        max_tokens=config.rollout.max_tokens,
        token_budget=512,  # a few micro-batches
        num_ranks=1,
        skip_no_signal=True,
    )
    use_packed_attention(model)  # as in a run; TRL cannot use the model from here on
    loss = clipped = 0.0
    for micro_batch in batch.micro_batches[0]:
        lengths = micro_batch.completion_lengths
        policy_logprobs, _ = completion_logprobs(
            model,
            torch.from_numpy(micro_batch.token_ids).long(),
            pack_rows(micro_batch, model.device),
            temperature=config.rollout.temperature,
        )
        terms = policy_loss(
            policy_logprobs,
            torch.from_numpy(micro_batch.rollout_logprobs),
            None,
            advantages=torch.from_numpy(micro_batch.advantages.repeat(lengths)),
            weights=torch.from_numpy(micro_batch.row_weights.repeat(lengths)),
            clip_low=config.loss.clip_low,
            clip_high=config.loss.clip_high,
            beta=0.0,
        )
        terms.loss.backward()
        loss, clipped = loss + terms.loss.item(), clipped + float(terms.clipped)
    return loss, clipped / batch.num_loss_tokens, _take_gradient(model)
