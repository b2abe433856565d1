"""Step-wise beam search: next steps of several begun texts are written, scored, and the best kept.

    kept texts --width steps each--> candidates --scores--> the `beams` best --> ... --> the best
    (n)                              (n x m)

"Beam search" against a scorer of steps, as in Snell et al. (arXiv 2408.03314, section 5.2) and
huggingface/search-and-learn; a text that has ended stays among the candidates with its score. All
tasks of a batch go a step at a time together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rlvr.evaluation.picking import Aggregation, aggregated
from rlvr.grpo.rollouts import FIXED_POLICY_VERSION, Engines
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec, completion_seed
from rlvr.types import Completion, FinishReason

__all__ = ["Beam", "BeamSearch", "Found"]

ScoreSteps = Callable[[Sequence[tuple[int, str]]], Awaitable[list[float | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """A text that was begun, or has ended."""

    token_ids: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    text: str = ""
    step_scores: tuple[float | None, ...] = ()
    finish_reason: FinishReason | None = None  # None: it goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best text of a task, and what the search for it cost."""

    beam: Beam
    num_tokens: int  # of all texts that were tried


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSearch:
    """How to search; `score` takes (task, text so far) and gives the score of the last step."""

    engines: Engines
    score: ScoreSteps
    decode: Callable[[NDArray[np.int32]], str]
    sampling: SamplingSpec  # of a whole completion; a step has what is left of its tokens
    step_end: str
    beams: int  # n
    width: int  # m
    max_iterations: int
    aggregate: Aggregation

    async def search(
        self, prompts: Sequence[NDArray[np.int32]], *, seed_parts: Sequence[Sequence[int | str]]
    ) -> list[Found]:
        """The best text for each prompt [P]; `seed_parts` names each task."""
        kept = [[Beam()] for _ in prompts]
        spent = [0] * len(prompts)
        for iteration in range(self.max_iterations):
            going = {
                (task, place): beam
                for task, beams in enumerate(kept)
                for place, beam in enumerate(beams)
                if beam.finish_reason is None
            }
            if not going:
                break
            tried = await self._next_steps(going, prompts, seed_parts, iteration)
            for task in {task for task, _ in going}:
                new = tried[task]
                spent[task] += sum(num_tokens for _, num_tokens in new)
                ended = [beam for beam in kept[task] if beam.finish_reason is not None]
                kept[task] = self._best([*ended, *(beam for beam, _ in new)])
        return [
            Found(beam=beams[0], num_tokens=tokens)
            for beams, tokens in zip(kept, spent, strict=True)
        ]

    async def _next_steps(
        self,
        going: dict[tuple[int, int], Beam],
        prompts: Sequence[NDArray[np.int32]],
        seed_parts: Sequence[Sequence[int | str]],
        iteration: int,
    ) -> dict[int, list[tuple[Beam, int]]]:
        """For each task its candidates, in order, with the tokens of their last steps."""
        parents: dict[tuple[int, int], Beam] = {}
        requests = []
        for (task, place), beam in going.items():
            copies = self.width if iteration else self.width * self.beams
            for copy in range(copies):
                sample = place * copies + copy
                parents[task, sample] = beam
                requests.append(
                    Request(
                        task_index=task,
                        sample_index=sample,
                        prompt_token_ids=np.concatenate([prompts[task], beam.token_ids]),
                        seed=completion_seed(*seed_parts[task], "beam", iteration, sample),
                    )
                )
        steps = await self._written(requests, parents)
        beams = [self._grown(parents[key], step) for key, step in sorted(steps.items())]
        tasks = [task for task, _ in sorted(steps)]
        texts = [(task, beam.text) for task, beam in zip(tasks, beams, strict=True)]
        scores = await self.score(texts)
        tried: dict[int, list[tuple[Beam, int]]] = {}
        for (key, step), beam, score in zip(sorted(steps.items()), beams, scores, strict=True):
            grown = replace(beam, step_scores=(*beam.step_scores, score))
            tried.setdefault(key[0], []).append((grown, len(step.token_ids)))
        return tried

    async def _written(
        self, requests: Sequence[Request], parents: dict[tuple[int, int], Beam]
    ) -> dict[tuple[int, int], Completion]:
        """One step of each request; those with the same room left go in one call, all at once."""
        by_room: dict[int, list[Request]] = {}
        for request in requests:
            used = len(parents[request.task_index, request.sample_index].token_ids)
            by_room.setdefault(self.sampling.max_tokens - used, []).append(request)
        steps: dict[tuple[int, int], Completion] = {}

        async def write(some: Sequence[Request], room: int) -> None:
            stop = (*self.sampling.stop, self.step_end)
            sampling = replace(self.sampling, max_tokens=room, stop=stop)
            async for chunk in self.engines.generate(
                some, sampling, policy_version=FIXED_POLICY_VERSION
            ):
                steps.update({_key(item): item.completion for item in chunk})

        await asyncio.gather(*(write(some, room) for room, some in by_room.items()))
        return steps

    def _grown(self, parent: Beam, step: Completion) -> Beam:
        token_ids = np.concatenate([parent.token_ids, step.token_ids])
        is_step = step.text.endswith(self.step_end) and len(token_ids) < self.sampling.max_tokens
        goes_on = is_step and step.finish_reason is FinishReason.STOP
        return replace(
            parent,
            token_ids=token_ids,
            text=self.decode(token_ids),
            finish_reason=None if goes_on else step.finish_reason,
        )

    def _best(self, candidates: Sequence[Beam]) -> list[Beam]:
        """The `beams` best, without those that are the same text; of equal scores the first."""
        different = list({beam.text: beam for beam in reversed(candidates)}.values())[::-1]
        order = sorted(different, key=lambda beam: -aggregated(beam.step_scores, self.aggregate))
        return order[: self.beams]


def _key(item: Finished) -> tuple[int, int]:
    return item.task_index, item.sample_index
