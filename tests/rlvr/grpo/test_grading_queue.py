"""Completions waiting for a reward worker: shares, and the way back of their results."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.grpo.grading_queue import GradingQueue, Share
from rlvr.types import RewardResult, Ungraded


def ungraded_of(*texts: str, think_prefilled: bool = False, has_ids: bool = False) -> Ungraded:
    return Ungraded(
        texts=list(texts),
        columns=[{"answer": text} for text in texts],
        think_prefilled=think_prefilled,
        prompts=None,
        completion_ids=[np.array([len(text)], np.int32) for text in texts] if has_ids else None,
    )


def graded(texts: Sequence[str]) -> list[RewardResult]:
    """A text is worth the number that it is."""
    return [RewardResult(value=float(text), grades={}) for text in texts]


def texts_of(share: Share | None) -> list[str]:
    return [] if share is None else list(share.ungraded.texts)


@given(
    sizes=st.lists(st.integers(0, 9), max_size=12),
    nums_idle=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    max_per_share=st.integers(1, 7),
    seed=st.randoms(use_true_random=False),
)
def test_every_call_gets_its_own_results_in_order_however_they_are_shared(
    sizes: list[int], nums_idle: list[int], max_per_share: int, seed: object
) -> None:
    async def serve() -> None:
        queue = GradingQueue(max_per_share=max_per_share)
        numbers = iter(range(1000))
        calls = [[str(next(numbers)) for _ in range(size)] for size in sizes]
        futures = [queue.add(ungraded_of(*call)) for call in calls]
        shares, turn = [], 0
        while share := queue.take(num_idle=nums_idle[turn % len(nums_idle)]):
            shares.append(share)
            turn += 1
        assert queue.num_completions == 0
        assert [text for share in shares for text in texts_of(share)] == [
            text for call in calls for text in call
        ]
        seed.shuffle(shares)  # type: ignore[attr-defined]
        for share in shares:
            assert 0 < share.num_completions <= max_per_share
            share.deliver(graded(share.ungraded.texts))
        for call, future in zip(calls, futures, strict=True):
            assert [result.value for result in future.result()] == [float(text) for text in call]

    asyncio.run(serve())


async def _shares(queue: GradingQueue, *nums_idle: int) -> list[list[str]]:
    return [texts_of(queue.take(num_idle=num_idle)) for num_idle in nums_idle]


def test_what_waits_is_split_evenly_over_the_idle_workers() -> None:
    async def split() -> None:
        queue = GradingQueue()
        queue.add(ungraded_of("1", "2", "3", "4"))
        queue.add(ungraded_of("5"))
        shares = await _shares(queue, 3, 2, 1, 1)
        assert shares == [["1", "2"], ["3", "4"], ["5"], []]

    asyncio.run(split())


def test_only_calls_of_the_same_kind_share_a_call_of_a_worker() -> None:
    async def split() -> None:
        queue = GradingQueue()
        queue.add(ungraded_of("1"))
        queue.add(ungraded_of("2", think_prefilled=True))
        queue.add(ungraded_of("3", think_prefilled=True, has_ids=True))
        queue.add(ungraded_of("4", think_prefilled=True, has_ids=True))
        assert await _shares(queue, 1, 1, 1, 1) == [["1"], ["2"], ["3", "4"], []]

    asyncio.run(split())


def test_columns_and_tokens_travel_with_their_completion() -> None:
    async def split() -> None:
        queue = GradingQueue(max_per_share=3)
        queue.add(ungraded_of("1", "22", has_ids=True))
        queue.add(ungraded_of("333", "4444", has_ids=True))
        first, second = queue.take(num_idle=1), queue.take(num_idle=1)
        assert first is not None and second is not None
        assert [row["answer"] for row in first.ungraded.columns] == ["1", "22", "333"]
        assert [int(ids[0]) for ids in second.ungraded.completion_ids or ()] == [4]

    asyncio.run(split())


def test_a_cancelled_call_is_not_graded_and_does_not_hold_up_the_others() -> None:
    async def split() -> None:
        queue = GradingQueue()
        left, stays = queue.add(ungraded_of("1", "2")), queue.add(ungraded_of("3"))
        left.cancel()
        share = queue.take(num_idle=1)
        assert texts_of(share) == ["3"] and share is not None
        share.deliver(graded(["3"]))
        assert stays.result()[0].value == 3.0
        assert queue.num_completions == 0

    asyncio.run(split())


def test_a_failure_ends_all_calls_of_the_share_and_the_rest_of_them() -> None:
    async def split() -> None:
        queue = GradingQueue(max_per_share=3)
        futures = [queue.add(ungraded_of("1", "2")), queue.add(ungraded_of("3", "4"))]
        share = queue.take(num_idle=1)
        assert share is not None
        share.fail(ValueError("no"))
        for future in futures:
            with pytest.raises(ValueError, match="no"):
                future.result()
        assert queue.take(num_idle=1) is None

    asyncio.run(split())
