"""Budget forcing: reasoning over its token budget is closed with a cue, then the answer follows.

    prompt --budget tokens--> finished? yes: done
                                        no, still reasoning: + cue ("</think>...") --rest--> done
                                        no, in the answer:                         --rest--> done

As in s1 (arXiv 2501.19393, section 3.1) and the thinking budget of Qwen3 (arXiv 2505.09388, section
4.3). The tokens of the cue count as tokens of the completion.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rlvr.data.reasoning_tags import is_thinking
from rlvr.errors import ConfigError
from rlvr.grpo.rollouts import Engines
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec
from rlvr.types import Completion, FinishReason

__all__ = ["ThinkingBudget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingBudget:
    """Engines whose reasoning is limited; `closed` holds the completions that were cut."""

    engines: Engines
    budget: int  # tokens of reasoning
    cue_ids: NDArray[np.int32]  # close the reasoning and begin the answer
    decode: Callable[[NDArray[np.int32]], str]
    think_prefilled: bool
    closed: set[tuple[int, int]] = field(default_factory=set)  # (task_index, sample_index)

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        """Yield chunks of whole completions. Raises ConfigError if no token is left for answers."""
        left = sampling.max_tokens - self.budget
        if left <= len(self.cue_ids):
            raise ConfigError(
                f"thinking_budget: {self.budget} and the {len(self.cue_ids)} tokens of budget_cue "
                f"leave nothing of {sampling.max_tokens} tokens for the answer"
            )
        by_key = {(r.task_index, r.sample_index): r for r in requests}
        thinking: list[Finished] = []
        answering: list[Finished] = []
        first = replace(sampling, max_tokens=self.budget)
        async for chunk in self.engines.generate(requests, first, policy_version=policy_version):
            finished = []
            for item in chunk:
                if item.completion.finish_reason is not FinishReason.LENGTH:
                    finished.append(item)
                elif is_thinking(item.completion.text, think_prefilled=self.think_prefilled):
                    thinking.append(item)
                else:
                    answering.append(item)
            if finished:
                yield finished
        self.closed.update((item.task_index, item.sample_index) for item in thinking)
        for items, cue in ((thinking, self.cue_ids), (answering, np.empty(0, np.int32))):
            if items:
                rest = replace(sampling, max_tokens=left - len(cue))
                async for chunk in self._continue(items, by_key, cue, rest, policy_version):
                    yield chunk

    async def _continue(
        self,
        items: Sequence[Finished],
        by_key: Mapping[tuple[int, int], Request],
        cue: NDArray[np.int32],
        sampling: SamplingSpec,
        policy_version: int,
    ) -> AsyncIterator[list[Finished]]:
        """Continue completions after the cue, which is not sampled."""
        begun: dict[tuple[int, int], Completion] = {}
        requests: list[Request] = []
        for item in items:
            key, first = (item.task_index, item.sample_index), item.completion
            begun[key] = first.followed_by(Completion.forced(cue, policy_version=policy_version))
            request = by_key[key]
            prompt = np.concatenate([request.prompt_token_ids, begun[key].token_ids])
            seed = request.seed ^ 1  # other draws than those of the first part
            requests.append(replace(request, prompt_token_ids=prompt, seed=seed))
        async for chunk in self.engines.generate(requests, sampling, policy_version=policy_version):
            yield [self._joined(begun[item.task_index, item.sample_index], item) for item in chunk]

    def _joined(self, begun: Completion, rest: Finished) -> Finished:
        whole = begun.followed_by(rest.completion)
        return replace(rest, completion=replace(whole, text=self.decode(whole.token_ids)))
