"""The pool of reward workers: what travels to them, how it is shared, and what a death costs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlvr.errors import ActorDied, ActorFailed
from rlvr.grpo.graders import GraderPool
from rlvr.grpo.reward_process import RewardProcess
from rlvr.types import RewardResult, Ungraded

UNGRADED = Ungraded(
    texts=["a", "b"],
    columns=[{"answer": "5"}] * 2,
    think_prefilled=False,
    prompts=["p", "q"],
    completion_ids=[np.array([1], np.int32), np.array([2, 3], np.int32)],
)


@dataclass(slots=True)
class FakeWorker:
    """Grades by the number that a text is; `errors` come first."""

    name: str = "rewards_0"
    errors: list[Exception] = field(default_factory=list)
    hold: asyncio.Event | None = None  # what its calls wait for
    start_error: Exception | None = None
    sent: list[Ungraded] = field(default_factory=list)
    is_killed: bool = False

    async def call(self, method: str, *args: Any, deadline_s: float) -> Any:
        assert not self.is_killed
        assert method == "grade"
        self.sent += args
        await asyncio.sleep(0)
        if self.hold is not None:
            await self.hold.wait()
        if self.errors:
            raise self.errors.pop(0)
        return [RewardResult(value=float(ord(text[0])), grades={}) for text in args[0].texts]

    def kill(self) -> None:
        self.is_killed = True

    @property
    def sizes(self) -> list[int]:
        return [len(ungraded.texts) for ungraded in self.sent]


def pool_of(*workers: FakeWorker, fresh: Sequence[FakeWorker] = (), **options: Any) -> GraderPool:
    """A pool whose dead workers are replaced by `fresh`, in turn."""
    rest: Iterator[FakeWorker] = iter(fresh)

    async def start(i: int) -> FakeWorker:
        worker = next(rest)
        if worker.start_error is not None:
            raise worker.start_error
        return worker

    return GraderPool(workers, start=start, deadline_s=20, **options)  # type: ignore[arg-type]


def ungraded_of(*texts: str) -> Ungraded:
    return replace(
        UNGRADED,
        texts=texts,
        columns=[{"answer": "5"}] * len(texts),
        prompts=["p"] * len(texts),
        completion_ids=None,
    )


async def values_of(pool: GraderPool, *texts: str) -> list[float | None]:
    return [result.value for result in await pool.grade(ungraded_of(*texts))]


@pytest.mark.parametrize("wants", [(), ("prompts",), ("completion_ids", "prompts")])
def test_only_what_a_reward_wants_is_sent(wants: tuple[str, ...]) -> None:
    worker = FakeWorker()
    asyncio.run(pool_of(worker, wants=wants).grade(UNGRADED))
    (sent,) = worker.sent
    assert (sent.texts, sent.columns) == (UNGRADED.texts, UNGRADED.columns)
    assert (sent.prompts is not None) == ("prompts" in wants)
    assert (sent.completion_ids is not None) == ("completion_ids" in wants)


def test_columns_that_no_reward_takes_are_not_sent() -> None:
    worker = FakeWorker()
    columns = {"answer": "5", "notes": "x" * 1000}
    pool = pool_of(worker, columns={"answer", "kind"})
    asyncio.run(pool.grade(replace(UNGRADED, columns=[columns] * 2)))
    assert worker.sent[0].columns == [{"answer": "5"}] * 2


def test_calls_that_come_together_are_graded_in_one_call_of_each_worker() -> None:
    workers = [FakeWorker(), FakeWorker()]

    async def grade() -> list[list[float | None]]:
        pool = pool_of(*workers)
        return await asyncio.gather(*(values_of(pool, text) for text in "abcdef"))

    assert asyncio.run(grade()) == [[float(ord(text))] for text in "abcdef"]
    assert [worker.sizes for worker in workers] == [[3], [3]]


def test_what_comes_while_a_worker_is_busy_waits_for_its_next_call() -> None:
    async def grade() -> None:
        worker = FakeWorker(hold=asyncio.Event())
        pool = pool_of(worker)
        first = asyncio.create_task(values_of(pool, "a"))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(values_of(pool, text, "z")) for text in "bcd"]
        await asyncio.sleep(0.01)
        assert worker.sizes == [1]
        busy, waiting = pool.describe()
        assert busy.startswith("rewards_0: 1 completions for 0.")
        assert waiting == "6 completions wait to be graded"
        worker.hold.set()  # type: ignore[union-attr]
        assert await first == [97.0]
        assert await asyncio.gather(*others) == [[98.0, 122.0], [99.0, 122.0], [100.0, 122.0]]
        assert worker.sizes == [1, 6]
        assert pool.describe() == ["0 completions wait to be graded"]

    asyncio.run(grade())


def test_a_cancelled_call_leaves_the_pool_usable() -> None:
    async def grade() -> None:
        worker = FakeWorker(hold=asyncio.Event())
        pool = pool_of(worker)
        calls = [asyncio.create_task(values_of(pool, text)) for text in "ab"]
        await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        worker.hold.set()  # type: ignore[union-attr]
        assert await values_of(pool, "c") == [99.0]

    asyncio.run(grade())


def test_a_death_costs_one_grading_which_a_fresh_worker_does_again() -> None:
    async def grade() -> None:
        dead, fresh = FakeWorker(errors=[ActorDied("rewards_0 died in grade")]), FakeWorker()
        pool = pool_of(dead, fresh=[fresh])
        assert await asyncio.gather(values_of(pool, "a"), values_of(pool, "b")) == [[97.0], [98.0]]
        assert dead.is_killed and pool.num_restarts == 1
        assert (dead.sizes, fresh.sizes) == ([2], [2])
        assert await values_of(pool, "c") == [99.0]
        assert fresh.sizes == [2, 1]

    asyncio.run(grade())


def test_others_go_on_while_a_worker_is_started_again() -> None:
    async def grade() -> None:
        dead = FakeWorker(errors=[ActorDied("rewards_0 died")], hold=asyncio.Event())
        other, fresh = FakeWorker("rewards_1"), FakeWorker(hold=asyncio.Event())
        pool = pool_of(dead, other, fresh=[fresh])
        calls = [asyncio.create_task(values_of(pool, text)) for text in "ab"]
        dead.hold.set()  # type: ignore[union-attr]
        await asyncio.sleep(0.01)
        assert [await values_of(pool, text) for text in "cd"] == [[99.0], [100.0]]
        assert not calls[0].done() and other.sizes == [1, 1, 1]
        fresh.hold.set()  # type: ignore[union-attr]
        assert await asyncio.gather(*calls) == [[97.0], [98.0]]

    asyncio.run(grade())


def test_a_fresh_worker_that_dies_in_its_start_is_started_once_more() -> None:
    died = ActorDied("rewards_0 died in ready")
    lost = FakeWorker(start_error=died)

    async def grade(*fresh: FakeWorker) -> list[float | None]:
        return await values_of(pool_of(FakeWorker(errors=[died]), fresh=fresh), "a")

    assert asyncio.run(grade(lost, FakeWorker())) == [97.0]
    with pytest.raises(ActorDied, match="died in ready"):
        asyncio.run(grade(lost, lost))


def test_two_deaths_over_the_same_completions_end_the_run_with_one_line() -> None:
    died = ActorDied("rewards_0 died in grade; its log: logs/rewards_0.log")

    async def grade() -> None:
        pool = pool_of(FakeWorker(errors=[died]), fresh=[FakeWorker(errors=[died])])
        await values_of(pool, "a", "b")

    with pytest.raises(ActorFailed) as failed:
        asyncio.run(grade())
    assert str(failed.value) == f"{died}; it died twice while grading the same 2 completions"


def test_an_exception_of_a_reward_is_not_tried_again() -> None:
    worker = FakeWorker(errors=[ActorFailed("rewards_0 failed in grade: ValueError")])
    with pytest.raises(ActorFailed, match="ValueError"):
        asyncio.run(values_of(pool_of(worker), "a"))
    assert worker.sizes == [1] and not worker.is_killed


NAMES = ("own_rewards:optional_hint", "own_rewards:only_hinted")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RewardProcess]:
    """A reward worker in a process of its own."""
    rewards = {NAMES[0]: {"weight": 1.0}, NAMES[1]: {"weight": 10.0, "only": {"kind": "hinted"}}}
    with RewardProcess(rewards, log=tmp_path / "preflight.log") as process:
        yield process


def test_a_grade_does_not_depend_on_the_columns_of_others(process: RewardProcess) -> None:
    rows = [{"hint": "h", "kind": "hinted"}, {}, {"kind": "plain"}, {"hint": "h", "kind": "hinted"}]

    def values(columns: Sequence[dict[str, str]]) -> list[float | None]:
        texts = ["a"] * len(columns)
        ungraded = replace(ungraded_of(*texts), columns=columns, prompts=None)
        return [result.value for result in process.grade(NAMES, ungraded, deadline_s=60)]

    alone = [values([row])[0] for row in rows]
    assert alone == [11.0, 0.5, 0.5, 11.0]
    assert values(rows) == alone
