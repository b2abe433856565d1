"""All ranks as one: which error is raised when ranks fail."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from rlvr.errors import ActorDied, ActorFailed, CheckError
from rlvr.learner.learner_group import LearnerGroup


@dataclass(slots=True)
class FakeRank:
    """Answers after a while, with an error if there is one; never without `after_s`."""

    error: Exception | None = None
    after_s: float | None = 0.0
    is_cancelled: bool = False

    async def call(self, method: str, *args: Any, deadline_s: float) -> str:
        try:
            await asyncio.sleep(600 if self.after_s is None else self.after_s)
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        if self.error is not None:
            raise self.error
        return method


def load(*ranks: FakeRank, deadline_s: float = 10.0) -> None:
    async def call() -> None:
        group = LearnerGroup(ranks, deadline_s=deadline_s)  # type: ignore[arg-type]
        await group.load_checkpoint("folder")
        await asyncio.sleep(0)

    asyncio.run(call())


DIED = ActorDied("learner_1 died in step")
LOST = ActorFailed("learner_0 failed in step: RuntimeError: Connection closed by peer")


def test_a_dead_rank_ends_the_calls_of_the_ranks_that_wait_for_it() -> None:
    waiting = FakeRank(after_s=None)
    with pytest.raises(ActorDied, match="learner_1 died"):
        load(waiting, FakeRank(DIED))
    assert waiting.is_cancelled


def test_the_rank_that_died_is_named_though_its_peer_failed_first() -> None:
    with pytest.raises(ActorDied, match="learner_1 died") as raised:
        load(FakeRank(LOST), FakeRank(DIED, after_s=0.05), FakeRank(after_s=None))
    assert not isinstance(raised.value, ActorFailed)


def test_an_exception_alone_ends_the_attempt_and_not_the_run() -> None:
    with pytest.raises(ActorDied, match=r"^learner_0 failed in step") as raised:
        load(FakeRank(LOST), FakeRank(after_s=None), deadline_s=0.05)
    assert not isinstance(raised.value, ActorFailed)


def test_a_failed_check_of_all_ranks_stays_one() -> None:
    with pytest.raises(CheckError, match="not finite"):
        load(FakeRank(CheckError("not finite")), FakeRank(CheckError("not finite")))
