"""The values that flow through the trainer, in the order in which they are made.

Letters in shapes: P prompt tokens, T completion tokens, G completions of one task (a group), B rows
of a micro-batch, S tokens of its longest row (prompt and completion), V vocabulary.

    Task --engine--> Completion --rewards--> Rollout, Group
         --packing--> MicroBatch, Batch --learner--> StepReport

Token arrays travel as numpy, never as lists of ints: 512 x 8192 tokens cost 33 MB and 0.1 s so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewards import RewardResult

__all__ = [
    "Batch",
    "Completion",
    "FinishReason",
    "Group",
    "MicroBatch",
    "Prompt",
    "RewardResult",
    "Rollout",
    "StepReport",
    "Task",
    "TrainState",
    "Ungraded",
]

Prompt = str | Sequence[Mapping[str, str]]
"""What a task asks: plain text, or chat messages with `role` and `content`."""


class FinishReason(StrEnum):
    """Why an engine stopped writing."""

    STOP = "stop"  # end-of-sequence token or a stop string
    LENGTH = "length"  # the token limit: the completion is truncated


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One verifiable problem: `Task(id="gsm8k/7", prompt="2+3?", columns={"answer": "5"})`."""

    id: str  # stable and unique in its source: seeds and resume hang on it
    prompt: Prompt  # before the template
    columns: Mapping[str, Any] = field(
        default_factory=dict
    )  # feed rewards by name: answer, tests, language, ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What an engine wrote for one sample of a task."""

    token_ids: NDArray[np.int32]  # [T], with the end-of-sequence token where one was sampled
    logprobs: NDArray[np.float32]  # [T], of the tokens under the distribution they were drawn from
    text: str  # without special tokens, with the stop string
    finish_reason: FinishReason
    policy_version: int  # of the weights that wrote all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Ungraded:
    """Completions on their way to the rewards: sequences with one entry a completion."""

    texts: Sequence[str]
    columns: Sequence[Mapping[str, Any]]  # those of the completion's task
    think_prefilled: bool  # the prompts have opened <think> already
    prompts: Sequence[str] | None  # as the model read them; None: no reward wants them
    completion_ids: Sequence[NDArray[np.int32]] | None  # [T] each; None: no reward wants them


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One completion with its reward and, once its group is whole, its advantage."""

    completion: Completion
    reward: RewardResult
    advantage: float | None = None  # None: not assigned yet, or not graded


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The G rollouts of one task; an advantage is relative to its group."""

    task: Task
    prompt_token_ids: NDArray[np.int32]  # [P], after the template
    rollouts: tuple[Rollout, ...]  # G of them, by sample index; of a mini-batch those that it has
    sample_indices: tuple[int, ...] | None = None  # of these; None: 0, 1, ... G - 1

    @property
    def graded(self) -> tuple[Rollout, ...]:
        """The rollouts that count: those with a reward that is not None."""
        return tuple(rollout for rollout in self.rollouts if rollout.reward.value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Rows of prompt and completion, padded on the right, that go through the model at once.

    Padding on the right needs no attention mask in a causal model: no real token can see it.
    """

    token_ids: NDArray[np.int32]  # [B, S]
    loss_mask: NDArray[np.bool_]  # [B, S], True where the token was sampled; never at position 0
    rollout_logprobs: NDArray[np.float32]  # [B, S], of the token there; 0 where loss_mask is False
    advantages: NDArray[np.float32]  # [B]
    row_weights: NDArray[np.float32]  # [B], weight of each token of the row in the global loss
    num_tokens: int  # useful ones: prompt and completion, without padding

    @property
    def num_computed_tokens(self) -> int:
        """Tokens that go through the model, padding among them."""
        return int(self.token_ids.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One optimizer step: for each learner rank equally many micro-batches."""

    micro_batches: tuple[tuple[MicroBatch, ...], ...]  # [rank][i]
    num_loss_tokens: int  # completion tokens of all graded rollouts, skipped rows included
    num_rollouts: int  # graded ones, skipped rows included
    num_skipped: int  # of these, left out because their gradient is exactly zero


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What the learner says of one optimizer step.

    Means are over the loss tokens that went through the model, on all ranks; where every group was
    without signal there are none, and the means are 0.
    """

    loss: float
    grad_norm: float  # before clipping
    entropy: float  # nats a token, of the sampling distribution
    clip_frac: float
    kl: float  # k3 to the reference; 0 without one
    mismatch_kl: float  # k3 of learner against the engine's own log-probs
    max_ratio_error: float  # largest |ratio - 1|
    num_loss_tokens: int  # completion tokens that went through the model
    num_tokens: int  # these and their prompts
    num_computed_tokens: int
    learn_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """Where a run stands; saved with each checkpoint."""

    step: int = 0  # optimizer steps done; also the policy version of the weights
    cursor: int = 0  # tasks trained, counted over epochs
    num_tokens: int = 0  # completion tokens seen in training

    def after(self, *, cursor: int, num_tokens: int) -> TrainState:
        """The state one step later; `cursor` is that behind the tasks that were trained."""
        return TrainState(
            step=self.step + 1, cursor=cursor, num_tokens=self.num_tokens + num_tokens
        )
