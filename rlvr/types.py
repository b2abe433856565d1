"""Values that flow through the trainer, in the order in which they are created.

    Task --engine--> Completion --rewards--> Rollout, Group
         --batching--> MicroBatch, Batch --learner--> StepReport

Letters in shapes: P prompt tokens, T completion tokens, G completions of one task (a group). In a
micro-batch: G prompts, B completions of M tokens in all, N tokens with the prompts.

A completion describes itself token by token: which tokens the policy sampled, with which log-prob,
under which weights. Tokens that it did not sample (the output of a tool, a forced cue) may stand
anywhere in it; they are context and have no loss.

Token arrays are numpy, not lists of ints: for 512 x 8192 tokens this saves 22 MB and 2 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    "Ledger",
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
"""Prompt of a task: plain text, or chat messages with `role` and `content`."""


class FinishReason(StrEnum):
    """Reason why an engine ended a completion."""

    STOP = "stop"  # end-of-sequence token or a stop string
    LENGTH = "length"  # token limit: the completion is truncated


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One verifiable problem: `Task(id="gsm8k/7", prompt="2+3?", columns={"answer": "5"})`."""

    id: str  # stable and unique in its source; seeds and resuming depend on it
    prompt: Prompt  # before the template
    columns: Mapping[str, Any] = field(default_factory=dict)  # arguments of the rewards, by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One completion as an engine generated it."""

    token_ids: NDArray[np.int32]  # [T], with the end-of-sequence token if one was sampled
    loss_mask: NDArray[np.bool_]  # [T], True where the policy sampled the token
    rollout_logprobs: NDArray[np.float32]  # [T], under the distribution that was sampled from
    policy_versions: NDArray[np.int32]  # [T], of the weights that generated the token
    text: str  # without special tokens, with the stop string
    finish_reason: FinishReason

    @classmethod
    def sampled(
        cls,
        token_ids: NDArray[np.int32],
        rollout_logprobs: NDArray[np.float32],
        *,
        text: str,
        finish_reason: FinishReason,
        policy_version: int,
    ) -> Completion:
        """Return a completion whose tokens were all sampled under one policy version."""
        return cls(
            token_ids=token_ids,
            loss_mask=np.ones(len(token_ids), np.bool_),
            rollout_logprobs=rollout_logprobs,
            policy_versions=np.full(len(token_ids), policy_version, np.int32),
            text=text,
            finish_reason=finish_reason,
        )

    @classmethod
    def forced(cls, token_ids: NDArray[np.int32], *, policy_version: int) -> Completion:
        """Return tokens that the policy did not sample; their log-probs are 0."""
        zeros = np.zeros(len(token_ids), np.float32)
        whole = cls.sampled(
            token_ids,
            zeros,
            text="",
            finish_reason=FinishReason.LENGTH,
            policy_version=policy_version,
        )
        return replace(whole, loss_mask=zeros.astype(np.bool_))

    def followed_by(self, rest: Completion) -> Completion:
        """Return both as one, which ends as `rest` does; the texts are joined."""
        names = ("token_ids", "loss_mask", "rollout_logprobs", "policy_versions")
        joined = {
            name: np.concatenate([getattr(self, name), getattr(rest, name)]) for name in names
        }
        return replace(rest, **joined, text=self.text + rest.text)

    @property
    def num_loss_tokens(self) -> int:
        """Number of tokens that the policy sampled."""
        return int(self.loss_mask.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ungraded:
    """Completions to grade; each sequence has one entry per completion."""

    texts: Sequence[str]
    columns: Sequence[Mapping[str, Any]]  # columns of the completion's task
    think_prefilled: bool  # whether the prompts end in an open <think>
    prompts: Sequence[str] | None  # after the template; None: no reward uses them
    completion_ids: Sequence[NDArray[np.int32]] | None  # [T] each; None: no reward uses them


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One completion with its reward and, once its group is complete, its advantage."""

    completion: Completion
    reward: RewardResult
    advantage: float | None = None  # None: not assigned yet, or not graded


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The G rollouts of one task; advantages are relative to the group."""

    task: Task
    prompt_token_ids: NDArray[np.int32]  # [P], after the template
    rollouts: tuple[Rollout, ...]  # G, by sample index; in a mini-batch only its own
    sample_indices: tuple[int, ...] | None = None  # of `rollouts`; None: 0, 1, ... G - 1

    @property
    def graded(self) -> tuple[Rollout, ...]:
        """The rollouts whose reward is not None."""
        return tuple(rollout for rollout in self.rollouts if rollout.reward.value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Prompts and completions for one forward pass, each prompt once and without padding.

    `token_ids` holds the G prompts, then the M tokens of the B completions. Completions are ordered
    by attention block, which groups those of similar length.
    """

    token_ids: NDArray[np.int32]  # [N]
    prompt_lengths: NDArray[np.int32]  # [G]
    prompt_index: NDArray[np.int32]  # [B], the prompt of each completion
    completion_lengths: NDArray[np.int32]  # [B]
    block_sizes: NDArray[np.int32]  # completions of each attention block
    loss_mask: NDArray[np.bool_]  # [M], False: context that the policy did not sample
    rollout_logprobs: NDArray[np.float32]  # [M], the engine's; unused where the mask is False
    advantages: NDArray[np.float32]  # [B]
    row_weights: NDArray[np.float32]  # [B], weight of each loss token of the row in the global loss

    @property
    def num_tokens(self) -> int:
        """Tokens of all completions, each with its prompt."""
        prompts = self.prompt_lengths[self.prompt_index]
        return int(prompts.sum()) + int(self.completion_lengths.sum())

    @property
    def num_computed_tokens(self) -> int:
        """Tokens in the forward pass, where completions share their prompt."""
        return self.token_ids.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One optimizer step; each learner rank gets the same number of micro-batches."""

    micro_batches: tuple[tuple[MicroBatch, ...], ...]  # [rank][i]
    num_loss_tokens: int  # sampled tokens of all graded rollouts, skipped rows included
    num_rollouts: int  # graded ones, skipped rows included
    num_skipped: int  # of these, left out because their gradient is exactly zero


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """Statistics of one optimizer step.

    Means are over the loss tokens in the forward passes of all ranks, and 0 without any (every
    group had equal rewards).
    """

    loss: float
    grad_norm: float  # before clipping
    entropy: float  # nats per token, of the sampling distribution
    clip_frac: float
    kl: float  # k3 to the reference; 0 without one
    mismatch_kl: float  # k3 between the log-probs of learner and engine
    mismatch_median: float  # of |log ratio| of learner to engine, in nats
    mismatch_p99: float  # 99th percentile of it; both quantiles are up to 6% too high
    mismatch_beyond_frac: float  # share of the tokens beyond checks.warn_mismatch
    max_ratio_error: float  # largest |ratio - 1|
    num_loss_tokens: int  # sampled tokens in the forward passes
    num_tokens: int  # these, each completion with its prompt
    num_computed_tokens: int  # in the forward passes, where completions share their prompt
    learn_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The trained tasks, as positions in the order of all tasks, counted over epochs."""

    cursor: int = 0  # positions from here on have not been dealt
    open: tuple[int, ...] = ()  # dealt, and neither trained nor left out; ascending


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """Progress of a run, saved with each checkpoint."""

    step: int = 0  # optimizer steps done; also the policy version of the weights
    ledger: Ledger = Ledger()
    num_tokens: int = 0  # completion tokens trained

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainState:
        """Return the state that `asdict` turned into JSON."""
        ledger = values.get("ledger") or {"cursor": values["cursor"]}  # of an earlier version
        open_positions = tuple(ledger.get("open", ()))
        return cls(
            step=values["step"],
            ledger=Ledger(cursor=ledger["cursor"], open=open_positions),
            num_tokens=values["num_tokens"],
        )

    def after(self, *, ledger: Ledger, num_tokens: int) -> TrainState:
        """Return the state one step later; `ledger` is the new one, `num_tokens` are added."""
        return TrainState(
            step=self.step + 1, ledger=ledger, num_tokens=self.num_tokens + num_tokens
        )
