"""From tasks to graded groups: prompts out to the engines, completions to the rewards as they end.

tasks --template--> requests --engines--> chunks of completions --rewards--> Groups
                                           (grading of a chunk runs while the next is written)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec, completion_seed
from rlvr.types import Group, RewardResult, Rollout, Task, Ungraded

__all__ = ["Engines", "Graders", "PromptEncoder", "RolloutBatch", "RolloutCollector"]


class Engines(Protocol):
    """What writes completions."""

    def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        """Chunks of completions as they end, each request exactly once."""
        ...


class Graders(Protocol):
    """What grades completions."""

    async def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        """One result per completion, in order."""
        ...


class PromptEncoder(Protocol):
    """What turns a task into the tokens of its prompt."""

    think_prefilled: bool  # the prompt has opened <think> already

    def encode(self, task: Task) -> NDArray[np.int32]:
        """[P] token ids."""
        ...

    def text(self, task: Task) -> str:
        """The prompt as the model reads it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBatch:
    """The groups of one batch of tasks, and what they cost."""

    groups: tuple[Group, ...]
    generate_s: float  # until the last completion ended
    grade_s: float  # after that, until the last grade was there
    num_tokens: int  # completion tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutCollector:
    """Holds what every batch needs; `collect` may run several times at once."""

    engines: Engines
    graders: Graders
    encoder: PromptEncoder
    seed: int

    async def collect(
        self,
        tasks: Sequence[Task],
        *,
        group_size: int,
        sampling: SamplingSpec,
        policy_version: int,
        seed_parts: Sequence[int | str],
    ) -> RolloutBatch:
        """Write and grade `group_size` completions of each task.

        `seed_parts` names the batch ("train", 128): with task and sample index it gives each
        completion a seed.
        """
        started = time.monotonic()
        prompts = [self.encoder.encode(task) for task in tasks]
        requests = [
            Request(
                task_index=i,
                sample_index=k,
                prompt_token_ids=prompt,
                seed=completion_seed(self.seed, *seed_parts, i, k),
            )
            for i, prompt in enumerate(prompts)
            for k in range(group_size)
        ]
        rollouts: dict[tuple[int, int], Rollout] = {}
        written_s = await self._write_and_grade(tasks, requests, sampling, policy_version, rollouts)
        assert len(rollouts) == len(requests), (
            f"{len(rollouts)} of {len(requests)} completions came back"
        )
        groups = tuple(
            Group(
                task=task,
                prompt_token_ids=prompt,
                rollouts=tuple(rollouts[i, k] for k in range(group_size)),
            )
            for i, (task, prompt) in enumerate(zip(tasks, prompts, strict=True))
        )
        return RolloutBatch(
            groups=groups,
            generate_s=written_s - started,
            grade_s=time.monotonic() - written_s,
            num_tokens=sum(len(r.completion.token_ids) for r in rollouts.values()),
        )

    async def _write_and_grade(
        self,
        tasks: Sequence[Task],
        requests: Sequence[Request],
        sampling: SamplingSpec,
        policy_version: int,
        rollouts: dict[tuple[int, int], Rollout],
    ) -> float:
        """Fill `rollouts`; returns when the last completion was written."""

        async def grade(chunk: Sequence[Finished]) -> None:
            results = await self.graders.grade(self._ungraded(tasks, chunk))
            for item, reward in zip(chunk, results, strict=True):
                rollouts[item.task_index, item.sample_index] = Rollout(
                    completion=item.completion, reward=reward
                )

        try:
            async with asyncio.TaskGroup() as grading:
                chunks = self.engines.generate(requests, sampling, policy_version=policy_version)
                async for chunk in chunks:
                    grading.create_task(grade(chunk))
                return time.monotonic()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # it names what died; the rest follows from it

    def _ungraded(self, tasks: Sequence[Task], chunk: Sequence[Finished]) -> Ungraded:
        texts = {i: self.encoder.text(tasks[i]) for i in {item.task_index for item in chunk}}
        return Ungraded(
            texts=[item.completion.text for item in chunk],
            columns=[tasks[item.task_index].columns for item in chunk],
            think_prefilled=self.encoder.think_prefilled,
            prompts=[texts[item.task_index] for item in chunk],
            completion_ids=[item.completion.token_ids for item in chunk],
        )
