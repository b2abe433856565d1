"""Generate and grade: from tasks to graded rollouts. Every stage uses this path.

    tasks --template--> requests --engines--> chunks of completions --rewards--> rollouts, groups
                                              (a chunk is graded while the next is generated)

GRPO and rejection sampling `collect` whole groups; an evaluation calls `generate_and_grade` for the
completions that it lacks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import CheckError
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec, completion_seed
from rlvr.run.trace import span
from rlvr.types import Group, RewardResult, Rollout, Task, Ungraded

__all__ = [
    "FIXED_POLICY_VERSION",
    "Engines",
    "GradedRollout",
    "Graders",
    "PromptEncoder",
    "RolloutBatch",
    "RolloutCollector",
]

BATCHES = "rollout batches"  # lane of their spans
FIXED_POLICY_VERSION = 0  # of the model's own weights, in a stage that does not train


class Engines(Protocol):
    """Generates completions."""

    def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        """Yield chunks of completions as they finish, each request exactly once."""


class Graders(Protocol):
    """Grades completions."""

    async def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        """Return one result for each completion, in order."""


class PromptEncoder(Protocol):
    """Turns a task into the tokens of its prompt."""

    think_prefilled: bool  # the template has opened <think> already

    def encode(self, task: Task) -> NDArray[np.int32]:
        """Return the prompt's token ids, [P]."""

    def text(self, task: Task) -> str:
        """Return the prompt as the model reads it."""

    def completion_ids(self, text: str) -> NDArray[np.int32]:
        """Return the token ids of a completion's text, [T], without special tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedRollout:
    """A rollout and its place: task index in the request batch, sample index in the group."""

    task_index: int
    sample_index: int
    rollout: Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBatch:
    """The groups of one batch of tasks, and the time they took."""

    groups: tuple[Group, ...]
    generate_s: float  # until the last completion finished
    grade_s: float  # from then until the last grade
    num_tokens: int  # completion tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutCollector:
    """Generates and grades rollouts; several calls may run concurrently."""

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
        """Generate and grade `group_size` completions of each task.

        `seed_parts` names the batch, e.g. ("train", 128); together with task and sample index it
        determines the seed of each completion.
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

        def keep(chunk: Sequence[GradedRollout], seconds: float) -> None:
            rollouts.update({(one.task_index, one.sample_index): one.rollout for one in chunk})

        with span("rollouts", lane=BATCHES, num_tasks=len(tasks)):
            generated_at = await self.generate_and_grade(
                tasks, requests, sampling, policy_version=policy_version, on_graded=keep
            )
        assert len(rollouts) == len(requests), f"{len(rollouts)} of {len(requests)} rollouts"
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
            generate_s=generated_at - started,
            grade_s=time.monotonic() - generated_at,
            num_tokens=sum(len(r.completion.token_ids) for r in rollouts.values()),
        )

    async def generate_and_grade(
        self,
        tasks: Sequence[Task],
        requests: Sequence[Request],
        sampling: SamplingSpec,
        *,
        policy_version: int,
        on_graded: Callable[[Sequence[GradedRollout], float], None],
    ) -> float:
        """Call `on_graded` with each graded chunk and its seconds since the chunk before.

        A request's `task_index` is an index into `tasks`. Return the time (time.monotonic) at
        which the last completion finished.

        Raises:
            CheckError: an engine generated under another policy version than the one asked for.
            ActorDied: an engine or a reward worker died.
        """

        async def grade(chunk: Sequence[Finished], seconds: float) -> None:
            on_graded(await self.grade(tasks, chunk), seconds)

        last = time.monotonic()
        try:
            async with asyncio.TaskGroup() as grading:
                chunks = self.engines.generate(requests, sampling, policy_version=policy_version)
                with span("generate", lane=BATCHES, num_completions=len(requests)):
                    async for chunk in chunks:
                        _check_version(chunk, policy_version)
                        last, before = time.monotonic(), last
                        grading.create_task(grade(chunk, last - before))
                last = time.monotonic()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the others follow from the first
        return last

    async def grade(self, tasks: Sequence[Task], chunk: Sequence[Finished]) -> list[GradedRollout]:
        """Grade finished completions, in order."""
        texts = {i: self.encoder.text(tasks[i]) for i in {item.task_index for item in chunk}}
        ungraded = Ungraded(
            texts=[item.completion.text for item in chunk],
            columns=[tasks[item.task_index].columns for item in chunk],
            think_prefilled=self.encoder.think_prefilled,
            prompts=[texts[item.task_index] for item in chunk],
            completion_ids=[item.completion.token_ids for item in chunk],
        )
        with span("grade", lane="chunks being graded", num_completions=len(chunk)):
            results = await self.graders.grade(ungraded)
        return [
            GradedRollout(
                task_index=item.task_index,
                sample_index=item.sample_index,
                rollout=Rollout(completion=item.completion, reward=result),
            )
            for item, result in zip(chunk, results, strict=True)
        ]


def _check_version(chunk: Sequence[Finished], policy_version: int) -> None:
    """The staleness of a rollout, and with it the mismatch check, depends on this label."""
    for item in chunk:
        others = item.completion.policy_versions[item.completion.policy_versions != policy_version]
        if others.size:
            raise CheckError(
                f"an engine generated under policy version {others[0]} where {policy_version} was "
                "asked for: the staleness of its completions is unknown"
            )
