"""What travels to the reward actors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from rlvr.grpo.graders import GraderPool
from rlvr.types import RewardResult, Ungraded

UNGRADED = Ungraded(
    texts=["a", "b"],
    columns=[{"answer": "5"}] * 2,
    think_prefilled=False,
    prompts=["p", "q"],
    completion_ids=[np.array([1], np.int32), np.array([2, 3], np.int32)],
)


@dataclass(slots=True)
class FakeActor:
    """Keeps what it is sent."""

    sent: list[Ungraded] = field(default_factory=list)

    async def call(self, method: str, *args: Any, deadline_s: float) -> list[RewardResult]:
        assert method == "grade"
        self.sent += args
        return [RewardResult(value=1.0, grades={})] * 2


@pytest.mark.parametrize("wants", [(), ("prompts",), ("completion_ids", "prompts")])
def test_only_what_a_reward_wants_is_sent(wants: tuple[str, ...]) -> None:
    actor = FakeActor()
    pool = GraderPool([actor], wants=wants, deadline_s=20)  # type: ignore[list-item]
    asyncio.run(pool.grade(UNGRADED))
    (sent,) = actor.sent
    assert (sent.texts, sent.columns) == (UNGRADED.texts, UNGRADED.columns)
    assert (sent.prompts is not None) == ("prompts" in wants)
    assert (sent.completion_ids is not None) == ("completion_ids" in wants)


def test_columns_that_no_reward_takes_are_not_sent() -> None:
    actor = FakeActor()
    pool = GraderPool([actor], columns={"answer", "kind"}, deadline_s=20)  # type: ignore[list-item]
    columns = {"answer": "5", "notes": "x" * 1000}
    asyncio.run(pool.grade(replace(UNGRADED, columns=[columns] * 2)))
    assert actor.sent[0].columns == [{"answer": "5"}] * 2


def test_actors_take_turns() -> None:
    actors = [FakeActor(), FakeActor()]
    pool = GraderPool(actors, deadline_s=20)  # type: ignore[arg-type]

    async def grade() -> None:
        for _ in range(4):
            await pool.grade(UNGRADED)

    asyncio.run(grade())
    assert [len(actor.sent) for actor in actors] == [2, 2]
