"""Step-wise beam search for the strategy `beam`.

    kept beams --width steps each--> candidates --scores--> the best n --> ... --> the best one
    (n)                              (n x m)

Beam search against a scorer of steps, as in Snell et al. (arXiv 2408.03314, section 5.2) and
huggingface/search-and-learn; a finished beam stays among the candidates with its score. All tasks
of a batch advance by one step at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rlvr.cluster.signals import in_daemon_thread
from rlvr.evaluation.completion_rows import CompletionPool, evaluation_row, key_of
from rlvr.evaluation.eval_config import StrategySection
from rlvr.evaluation.scorers import Scorer, ScorerInput
from rlvr.evaluation.selection import aggregate_scores
from rlvr.evaluation.suites import Suite
from rlvr.grpo.rollouts import FIXED_POLICY_VERSION, Engines, RolloutCollector
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec, completion_seed
from rlvr.run.row_log import RowLog
from rlvr.types import Completion, FinishReason, Task

__all__ = ["Beam", "BeamSearch", "search_suite"]

TASKS_PER_BATCH = 16  # rows are written after each batch, so an interruption loses at most one

ScoreSteps = Callable[[Sequence[tuple[int, str]]], Awaitable[list[float | None]]]
BeamKey = tuple[int, int]  # task index, sample index


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """A partial or finished completion."""

    token_ids: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))  # [T]
    text: str = ""
    step_scores: tuple[float | None, ...] = ()
    num_step_tokens: int = 0  # of its last step
    finish_reason: FinishReason | None = None  # None: unfinished

    def completion(self) -> Completion:
        """Return the beam as a completion; its log-probs are not known."""
        return Completion.sampled(
            self.token_ids,
            np.zeros(len(self.token_ids), np.float32),
            text=self.text,
            finish_reason=self.finish_reason or FinishReason.LENGTH,
            policy_version=FIXED_POLICY_VERSION,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSearch:
    """A search; `score` maps (task index, text so far) to the scores of their last steps."""

    strategy: StrategySection
    engines: Engines
    score: ScoreSteps
    decode: Callable[[NDArray[np.int32]], str]
    sampling: SamplingSpec  # of a whole completion; a step gets the tokens that are left

    async def search(
        self, prompts: Sequence[NDArray[np.int32]], *, seed_parts: Sequence[Sequence[int | str]]
    ) -> list[tuple[Beam, int]]:
        """Return the best beam of each prompt [P], and the number of tokens generated for it.

        `seed_parts` names each task.
        """
        kept = [[Beam()] for _ in prompts]
        num_tokens = [0] * len(prompts)
        for iteration in range(self.strategy.max_iterations):
            copies = self.strategy.width * (1 if iteration else self.strategy.beams)
            parents = {
                (task, i * copies + copy): beam
                for task, beams in enumerate(kept)
                for i, beam in enumerate(beams)
                for copy in range(copies)
                if beam.finish_reason is None
            }
            if not parents:
                break
            candidates = await self._candidates(parents, prompts, seed_parts, iteration)
            for task, new in candidates.items():
                num_tokens[task] += sum(beam.num_step_tokens for beam in new)
                finished = [beam for beam in kept[task] if beam.finish_reason is not None]
                kept[task] = self._best([*finished, *new])
        return [(beams[0], num) for beams, num in zip(kept, num_tokens, strict=True)]

    async def _candidates(
        self,
        parents: Mapping[BeamKey, Beam],
        prompts: Sequence[NDArray[np.int32]],
        seed_parts: Sequence[Sequence[int | str]],
        iteration: int,
    ) -> dict[int, list[Beam]]:
        """Extend each parent by one step; return the scored beams of each task, in order."""
        by_limit: dict[int, list[Request]] = {}  # requests with equal token limits share a call
        for (task, sample), beam in parents.items():
            request = Request(
                task_index=task,
                sample_index=sample,
                prompt_token_ids=np.concatenate([prompts[task], beam.token_ids]),
                seed=completion_seed(*seed_parts[task], "beam", iteration, sample),
            )
            limit = self.sampling.max_tokens - len(beam.token_ids)
            by_limit.setdefault(limit, []).append(request)
        steps = await self._generate_steps(by_limit)
        beams = [self._extended(parent, steps[key]) for key, parent in parents.items()]
        tasks = [task for task, _ in parents]
        scores = await self.score([(i, beam.text) for i, beam in zip(tasks, beams, strict=True)])
        candidates: dict[int, list[Beam]] = {}
        for task, beam, score in zip(tasks, beams, scores, strict=True):
            scored = replace(beam, step_scores=(*beam.step_scores, score))
            candidates.setdefault(task, []).append(scored)
        return candidates

    async def _generate_steps(
        self, by_limit: Mapping[int, Sequence[Request]]
    ) -> dict[BeamKey, Completion]:
        """Generate one step per request; `by_limit`: its maximum number of tokens -> requests."""
        steps: dict[BeamKey, Completion] = {}

        async def generate(some: Sequence[Request], max_tokens: int) -> None:
            stop = (*self.sampling.stop, self.strategy.step_end)
            sampling = replace(self.sampling, max_tokens=max_tokens, stop=stop)
            chunks = self.engines.generate(some, sampling, policy_version=FIXED_POLICY_VERSION)
            async for chunk in chunks:
                steps.update({(one.task_index, one.sample_index): one.completion for one in chunk})

        await asyncio.gather(*(generate(some, limit) for limit, some in by_limit.items()))
        return steps

    def _extended(self, parent: Beam, step: Completion) -> Beam:
        token_ids = np.concatenate([parent.token_ids, step.token_ids])
        is_unfinished = (
            step.finish_reason is FinishReason.STOP
            and step.text.endswith(self.strategy.step_end)
            and len(token_ids) < self.sampling.max_tokens
        )
        return replace(
            parent,
            token_ids=token_ids,
            text=self.decode(token_ids),
            num_step_tokens=len(step.token_ids),
            finish_reason=None if is_unfinished else step.finish_reason,
        )

    def _best(self, candidates: Sequence[Beam]) -> list[Beam]:
        """Return the n best with different texts."""
        unique = list({beam.text: beam for beam in reversed(candidates)}.values())[::-1]
        best, how = self.strategy.beams, self.strategy.aggregate
        return sorted(unique, key=lambda beam: -aggregate_scores(beam.step_scores, how))[:best]


async def search_suite(
    suite: Suite,
    pool: CompletionPool,
    log: RowLog,
    collector: RolloutCollector,
    *,
    strategy: StrategySection,
    scorer: Scorer,
    decode: Callable[[NDArray[np.int32]], str],
) -> None:
    """Search the tasks that have no row yet; `search_tokens` of a row counts all tried steps."""
    on_disk = {key_of(row) for row in log.rows}
    missing = [t for t in suite.tasks if (pool.name, suite.name, t.id, 0) not in on_disk]
    for start in range(0, len(missing), TASKS_PER_BATCH):
        started = time.monotonic()
        tasks = missing[start : start + TASKS_PER_BATCH]
        prompts = [collector.encoder.text(task) for task in tasks]
        search = BeamSearch(
            strategy=strategy,
            engines=collector.engines,
            score=partial(_score, scorer, tasks, prompts),
            decode=decode,
            sampling=pool.sampling,
        )
        found = await search.search(
            [collector.encoder.encode(task) for task in tasks],
            seed_parts=[(pool.seed, "eval", suite.name, task.id) for task in tasks],
        )
        finished = [
            Finished(task_index=i, sample_index=0, completion=beam.completion())
            for i, (beam, _) in enumerate(found)
        ]
        graded = await collector.grade(tasks, finished)
        seconds = round((time.monotonic() - started) / len(tasks), 4)
        log.append(
            evaluation_row(suite, pool.name, task, one, collector.encoder)
            | {"search_tokens": num_tokens, "seconds": seconds}
            for task, one, (_, num_tokens) in zip(tasks, graded, found, strict=True)
        )


async def _score(
    scorer: Scorer,
    tasks: Sequence[Task],
    prompts: Sequence[str],
    texts: Sequence[tuple[int, str]],
) -> list[float | None]:
    inputs = [ScorerInput(task=tasks[i], prompt=prompts[i], text=text) for i, text in texts]
    return await in_daemon_thread(lambda: scorer(inputs))
