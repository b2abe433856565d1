"""A run that resumes by itself, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from rlvr.errors import ActorDied, ActorFailed, CheckError, ConfigError, RLVRError, Stopped
from rlvr.grpo.attempts import resuming

DIED = "learner_0 died in step; its log: logs/learner_0.log"


@dataclass(slots=True)
class Attempts:
    """Attempts that end with these errors, and then one that does not; each gets two steps on."""

    errors: Sequence[Exception]
    numbers: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    step: int = 0

    def __call__(self, num_restarts: int) -> str:
        self.numbers.append(num_restarts)
        self.step += 2
        if num_restarts < len(self.errors):
            raise self.errors[num_restarts]
        return "done"

    def run(self, *, max_restarts: int = 3) -> str:
        return resuming(
            self,
            max_restarts=max_restarts,
            progress=lambda: f"step {self.step}",
            note=self.notes.append,
        )


def test_a_run_without_a_death_is_one_attempt() -> None:
    attempts = Attempts([])
    assert attempts.run() == "done"
    assert attempts.numbers == [0] and attempts.notes == []


def test_each_death_is_one_line_that_says_where_the_run_goes_on() -> None:
    attempts = Attempts([ActorDied(DIED), ActorDied("Ray's gcs_server died; its log: x")])
    assert attempts.run() == "done"
    assert attempts.numbers == [0, 1, 2]
    assert attempts.notes == [
        f"{DIED}; resuming from step 2, restart 1 of 3 (resources.max_restarts)",
        "Ray's gcs_server died; its log: x; resuming from step 4, restart 2 of 3 "
        "(resources.max_restarts)",
    ]


def test_one_death_more_than_allowed_ends_the_run_with_the_last_one() -> None:
    attempts = Attempts([ActorDied("first"), ActorDied(DIED)])
    with pytest.raises(ActorDied) as ended:
        attempts.run(max_restarts=1)
    assert str(ended.value) == (
        f"{DIED}; after 1 restarts (resources.max_restarts); the same command resumes from step 4"
    )
    assert attempts.numbers == [0, 1]


def test_without_restarts_the_first_death_ends_the_run() -> None:
    attempts = Attempts([ActorDied(DIED)])
    with pytest.raises(ActorDied, match="no restarts are allowed"):
        attempts.run(max_restarts=0)
    assert attempts.numbers == [0] and attempts.notes == []


@pytest.mark.parametrize(
    "error",
    [
        ActorFailed("rewards_0 failed in grade: ValueError; its log: logs/rewards_0.log"),
        CheckError("mismatch_kl is 0.3"),
        ConfigError("resources: ..."),
        RLVRError("the disk is full"),
        Stopped(3),
    ],
)
def test_what_would_happen_again_or_was_asked_for_is_not_tried_again(error: Exception) -> None:
    attempts = Attempts([error])
    with pytest.raises(type(error)) as ended:
        attempts.run()
    assert ended.value is error
    assert attempts.numbers == [0]
