"""Gold and empty answers through the real rewards, before the first step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes import FakeEncoder, config_of, grades_of

from rewards import RewardMix, RewardResult, think_format
from rlvr.data.tasks import TaskList
from rlvr.errors import CheckError
from rlvr.grpo.checks import PreflightReport, check_rewards
from rlvr.types import Task, Ungraded


@dataclass(slots=True)
class MixGraders:
    """The rewards in this process."""

    mix: RewardMix
    num_graded: int = 0

    async def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        self.num_graded += len(ungraded.texts)
        names = {name for row in ungraded.columns for name in row}
        by_name = {name: [row.get(name) for row in ungraded.columns] for name in names}
        return self.mix.grade(ungraded.texts, by_name, think_prefilled=ungraded.think_prefilled)


@dataclass(slots=True)
class ToldGraders:
    """Gives what it is told, whatever the text."""

    values: Mapping[str, float]
    texts: list[str] = field(default_factory=list)

    async def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        self.texts += ungraded.texts
        total = sum(self.values.values())
        return [RewardResult(value=total, grades=grades_of(**self.values))] * len(ungraded.texts)


def source(*answers: str | None) -> TaskList:
    tasks = [
        Task(id=f"n/{i}", prompt="?", columns={} if answer is None else {"answer": answer})
        for i, answer in enumerate(answers)
    ]
    return TaskList(name="n", tasks=tuple(tasks))


def check(
    tasks: TaskList, graders: Any, *, think_prefilled: bool = False, **sections: Any
) -> PreflightReport:
    config = config_of(**sections)
    rewards = {name: {"options": r.options} for name, r in config.rewards.items()}
    mix = RewardMix(rewards)
    encoder = FakeEncoder(think_prefilled=think_prefilled)
    return asyncio.run(check_rewards(config, tasks, mix, graders, encoder))


BOTH = {"accuracy": 1.0, "think_format": 1.0}


@pytest.mark.parametrize("think_prefilled", [False, True])
@pytest.mark.parametrize("style", ["zero", "r1"])
def test_golds_that_are_rendered_as_the_rewards_want_them_pass(
    think_prefilled: bool, style: str
) -> None:
    rewards = {"accuracy": 1.0, "think_format": {"profile": style}}
    graders = MixGraders(
        RewardMix({"accuracy": 1, "think_format": {"options": {"profile": style}}})
    )
    found = check(
        source("5", "72", "1/2"),
        graders,
        think_prefilled=think_prefilled,
        rewards=rewards,
        prompt={"answer_style": style},
    )
    assert str(found) == "preflight: 3 of 3 gold answers earn full reward"
    assert graders.num_graded == 6  # golds and empty answers


def test_a_template_that_breaks_the_reward_is_noticed() -> None:
    with pytest.raises(CheckError) as stopped:
        check(
            source("5", "72"),
            MixGraders(RewardMix({"accuracy": 1, "think_format": 1})),
            rewards=BOTH,
            prompt={"answer_style": "r1"},  # and the reward wants <answer>
        )
    message = str(stopped.value)
    assert message.startswith("preflight: 2 of 2 gold answers, rendered through the template, miss")
    assert "n/0: think_format 0" in message and "checks.max_bad_golds" in message


def test_a_task_whose_gold_misses_two_rewards_is_one_task() -> None:
    graders = ToldGraders({"accuracy": 0.0, "think_format": 0.0})
    with pytest.raises(CheckError, match=r"preflight: 5 of 5 gold answers,.* and 2 more;"):
        check(source(*"12345"), graders, rewards=BOTH)
    found = check(source("1"), graders, rewards=BOTH, checks={"max_bad_golds": 1})
    assert found.num_tasks == len(found.bad_golds) == 1
    assert str(found) == "preflight: 0 of 1 gold answers earn full reward"


def test_a_reward_that_pays_for_an_empty_answer_is_noticed() -> None:
    with pytest.raises(CheckError, match="an empty answer earns a reward on n/0 and 1 more rows"):
        check(source("5", "6"), ToldGraders({"accuracy": 1.0}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_noticed(value: float) -> None:
    with pytest.raises(CheckError, match=r"reward extra is (nan|inf) on n/0"):
        check(source("5"), ToldGraders({"accuracy": 1.0, "extra": value}))


def test_a_reward_outside_of_its_declared_range_is_noticed() -> None:
    graders = ToldGraders({"accuracy": 1.0, "think_format": 1.5})
    with pytest.raises(CheckError, match=r"think_format is 1\.5 on n/0, not in its range 0 to 1"):
        check(source("5"), graders, rewards=BOTH)


def test_only_so_many_rows_with_an_answer_are_looked_at() -> None:
    graders = MixGraders(RewardMix({"accuracy": 1}))
    found = check(source("1", None, "3", "4"), graders, checks={"preflight_tasks": 3})
    assert found.num_tasks == 2
    assert check(source("1"), graders, checks={"preflight_tasks": 0}).num_tasks == 0


def test_a_reward_of_rows_without_an_answer_is_still_called() -> None:
    graders = ToldGraders({"mine": float("nan")})
    with pytest.raises(CheckError, match="reward mine is nan on n/0, not finite"):
        check(source(None), graders)


def test_a_gold_is_what_the_format_reward_calls_well_formed() -> None:
    graders = ToldGraders({"accuracy": 1.0})
    with pytest.raises(CheckError):
        check(source("5"), graders)
    assert think_format(completions=graders.texts) == [1.0, 0.0]  # the gold, and nothing


def test_a_solution_that_comes_with_tests_must_pass_them() -> None:
    tests = {"cases": [{"input": "21", "output": "42"}]}
    programs = ("print(int(input()) * 2)", "print(int(input()) * 3)")
    tasks = TaskList(
        name="code",
        tasks=tuple(
            Task(id=f"code/{i}", prompt="?", columns={"tests": tests, "solution": program})
            for i, program in enumerate(programs)
        ),
    )
    graders = MixGraders(RewardMix({"passes_tests": 1.0, "think_format": 0.1}))
    with pytest.raises(
        CheckError, match=r"1 of 2 gold answers.*code/1: passes_tests 0.0 \(wrong_a"
    ):
        check(tasks, graders, rewards={"passes_tests": 1.0, "think_format": 0.1})
