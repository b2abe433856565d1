"""A thought that grows too long is closed by force, and the answer is written behind it.

prompt --budget tokens--> ended?  yes: done
                                  no, in its thought: + cue ("</think>...") --the rest--> done
                                  no, in its answer:                        --the rest--> done

"Budget forcing" of s1 (arXiv 2501.19393, section 3.1) and the thinking budget of Qwen3 (arXiv
2505.09388, section 4.3). The cue's tokens count as the completion's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
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
    budget: int  # tokens of a thought
    cue_ids: NDArray[np.int32]  # that close it and begin the answer
    decode: Callable[[NDArray[np.int32]], str]
    think_prefilled: bool
    closed: set[tuple[int, int]] = field(default_factory=set)  # (task_index, sample_index)

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        """Chunks of whole completions.

        Raises:
            ConfigError: the longest completion has no room behind budget and cue.
        """
        left = sampling.max_tokens - self.budget
        if left <= len(self.cue_ids):
            raise ConfigError(
                f"thinking_budget: {self.budget} and the {len(self.cue_ids)} tokens of budget_cue "
                f"leave nothing of {sampling.max_tokens} tokens for the answer"
            )
        by_key = {(r.task_index, r.sample_index): r for r in requests}
        cut: list[Finished] = []
        first = replace(sampling, max_tokens=self.budget)
        async for chunk in self.engines.generate(requests, first, policy_version=policy_version):
            cut += [item for item in chunk if _is_cut(item)]
            if ended := [item for item in chunk if not _is_cut(item)]:
                yield ended
        thinking = [item for item in cut if self._is_thinking(item)]
        answering = [item for item in cut if not self._is_thinking(item)]
        self.closed.update((item.task_index, item.sample_index) for item in thinking)
        no_cue = np.empty(0, np.int32)
        for items, cue in ((thinking, self.cue_ids), (answering, no_cue)):
            if items:
                rest = replace(sampling, max_tokens=left - len(cue))
                async for chunk in self._continued(items, by_key, cue, rest, policy_version):
                    yield chunk

    def _is_thinking(self, item: Finished) -> bool:
        return is_thinking(item.completion.text, think_prefilled=self.think_prefilled)

    async def _continued(
        self,
        items: Sequence[Finished],
        by_key: dict[tuple[int, int], Request],
        cue: NDArray[np.int32],
        sampling: SamplingSpec,
        policy_version: int,
    ) -> AsyncIterator[list[Finished]]:
        begun = {(item.task_index, item.sample_index): item.completion for item in items}
        requests = [
            replace(
                by_key[key],
                prompt_token_ids=np.concatenate(
                    [by_key[key].prompt_token_ids, completion.token_ids, cue]
                ),
                seed=by_key[key].seed ^ 1,  # not the draws of the first part again
            )
            for key, completion in begun.items()
        ]
        async for chunk in self.engines.generate(requests, sampling, policy_version=policy_version):
            yield [
                replace(
                    item,
                    completion=self._joined(
                        begun[item.task_index, item.sample_index], cue, item.completion
                    ),
                )
                for item in chunk
            ]

    def _joined(self, begun: Completion, cue: NDArray[np.int32], rest: Completion) -> Completion:
        """One completion; nobody sampled the cue, so its log-probs are 0."""
        token_ids = np.concatenate([begun.token_ids, cue, rest.token_ids])
        return replace(
            rest,
            token_ids=token_ids,
            logprobs=np.concatenate(
                [begun.logprobs, np.zeros(len(cue), np.float32), rest.logprobs]
            ),
            text=self.decode(token_ids),
        )


def _is_cut(item: Finished) -> bool:
    return item.completion.finish_reason is FinishReason.LENGTH
