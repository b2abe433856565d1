"""Errors of Ray's calls, in our words; and the call that misses its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    OwnerDiedError,
    RayTaskError,
)

from rlvr.cluster.actors import Actor
from rlvr.errors import ActorDied, ActorFailed, CheckError


class FakeHandle:
    """A handle whose only method gives this result; it may be an exception, or never come."""

    def __init__(self, result: object) -> None:
        self._result = result

    @property
    def step(self) -> FakeHandle:
        return self

    def remote(self) -> Awaitable[Any]:
        async def result() -> Any:
            if self._result is ...:
                await asyncio.sleep(600)
            if isinstance(self._result, Exception):
                raise self._result
            return self._result

        return result()


def call(result: object, **fields: Any) -> Any:
    actor = Actor(name="learner_0", handle=FakeHandle(result), log_path="learner_0.log", **fields)
    return asyncio.run(actor.call("step", deadline_s=0.05))


def raised_by_task(cause: Exception) -> RayTaskError:
    return RayTaskError("step", "Traceback ...", cause)


def test_a_result_is_returned() -> None:
    assert call(3) == 3


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ActorDiedError(), ActorDied, "learner_0 died in step"),
        (ActorUnavailableError("reset", None), ActorDied, "learner_0 died in step"),
        (NodeDiedError("gone"), ActorDied, "learner_0 was lost in step: NodeDiedError"),
        (
            raised_by_task(OwnerDiedError("00" * 28, None, "")),
            ActorDied,
            "learner_0 was lost in step: OwnerDiedError",
        ),
        (
            raised_by_task(RuntimeError("CUDA error\nout of memory")),
            ActorFailed,
            "learner_0 failed in step: RuntimeError: out of memory",
        ),
        (
            ActorDiedError(raised_by_task(ValueError("no such tier"))),
            ActorFailed,
            "learner_0 failed in its start: ",
        ),
    ],
)
def test_a_failure_names_the_actor_and_its_log(
    error: Exception, kind: type[Exception], said: str
) -> None:
    with pytest.raises(ActorDied) as raised:
        call(error)
    assert type(raised.value) is kind
    line = str(raised.value)
    assert line.startswith(said) and line.endswith("; its log: learner_0.log")
    assert "\n" not in line


def test_an_error_of_our_own_comes_as_it_was_raised() -> None:
    with pytest.raises(CheckError, match="not finite"):
        call(raised_by_task(CheckError("not finite")))


def test_a_call_that_misses_its_deadline_is_reported_before_it_fails() -> None:
    late: list[str] = []

    def reporter() -> Callable[[], Awaitable[None]]:
        async def report() -> None:
            late.append("stacks")

        return report

    with pytest.raises(ActorDied, match=r"^learner_0 did not finish step within 0 s; its log: "):
        call(..., on_late=reporter())
    assert late == ["stacks"]
