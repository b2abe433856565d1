"""Rewards on three completions, and the golds of the rows, before a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEncoder, config_of, grades_of

from rewards import Grade, Outcome, RewardMix, RewardResult, think_format
from rlvr.data.prompts import GoldStyle
from rlvr.data.tasks import TaskList
from rlvr.errors import ConfigError
from rlvr.grpo.reward_process import RewardFailed
from rlvr.grpo.reward_trial import GoldReport, RewardTrial
from rlvr.types import Task, Ungraded


@dataclass(slots=True)
class MixGrader:
    """The rewards in this process."""

    specs: Mapping[str, Any]
    log: Path = Path("logs/preflight.log")
    calls: list[tuple[tuple[str, ...], Ungraded]] = field(default_factory=list)
    hangs_at: int | None = None  # number of a call

    def grade(
        self, names: Sequence[str], ungraded: Ungraded, *, deadline_s: float
    ) -> list[RewardResult]:
        self.calls.append((tuple(names), ungraded))
        if len(self.calls) == self.hangs_at:
            raise TimeoutError
        columns = {name for row in ungraded.columns for name in row}
        by_name = {name: [row.get(name) for row in ungraded.columns] for name in columns}
        mix = RewardMix({name: self.specs[name] for name in names})
        return mix.grade(ungraded.texts, by_name, think_prefilled=ungraded.think_prefilled)


@dataclass(slots=True)
class ToldGrader:
    """Gives what it is told, whatever the text."""

    values: Mapping[str, float] = field(default_factory=dict)
    grades: Mapping[str, Grade] = field(default_factory=dict)
    log: Path = Path("logs/preflight.log")
    texts: list[str] = field(default_factory=list)

    def grade(
        self, names: Sequence[str], ungraded: Ungraded, *, deadline_s: float
    ) -> list[RewardResult]:
        self.texts += ungraded.texts
        grades = {**grades_of(**self.values), **self.grades}
        return [RewardResult(value=0.0, grades=grades)] * len(ungraded.texts)


def source(*answers: str | None) -> TaskList:
    tasks = [
        Task(id=f"n/{i}", prompt="?", columns={} if answer is None else {"answer": answer})
        for i, answer in enumerate(answers)
    ]
    return TaskList(name="n", tasks=tuple(tasks))


def trial_of(
    tasks: TaskList,
    rewards: Mapping[str, Any],
    *,
    process: Any = None,
    think_prefilled: bool = False,
    style: str = "zero",
) -> RewardTrial:
    return RewardTrial(
        process=process or MixGrader(rewards),
        mix=RewardMix(rewards),
        encoder=FakeEncoder(think_prefilled=think_prefilled),  # type: ignore[arg-type]
        sources={"tasks": tasks},
        style=GoldStyle(style),
    )


def golds(trial: RewardTrial, *, fast: Sequence[str] = (), **checks: Any) -> GoldReport:
    section = config_of(checks=checks).checks
    return trial.grade_golds(section, fast=fast, seed=0)


BOTH = {"accuracy": 1.0, "think_format": 1.0}


@pytest.mark.parametrize("think_prefilled", [False, True])
@pytest.mark.parametrize("style", ["zero", "r1"])
def test_golds_that_are_rendered_as_the_rewards_want_them_pass(
    think_prefilled: bool, style: str
) -> None:
    rewards = {"accuracy": 1.0, "think_format": {"options": {"profile": style}}}
    trial = trial_of(
        source("5", "72", "1/2"), rewards, think_prefilled=think_prefilled, style=style
    )
    assert str(golds(trial)) == "preflight: 3 of 3 gold answers earn full reward"
    assert sum(len(ungraded.texts) for _, ungraded in trial.process.calls) == 6  # and empty ones


def test_a_template_that_breaks_the_reward_is_noticed() -> None:
    with pytest.raises(ConfigError) as stopped:  # the reward wants <answer>
        golds(trial_of(source("5", "72"), BOTH, style="r1"))
    message = str(stopped.value)
    assert message.startswith("preflight: 2 of 2 gold answers, rendered through the template, miss")
    assert "task n/0: think_format 0" in message and "checks.max_bad_golds" in message


def test_a_wrong_gold_is_named_by_its_row() -> None:
    tasks = TaskList(name="n", tasks=source("5", r"\frac{1}{").tasks, origin="rows.jsonl")
    with pytest.raises(ConfigError, match=r"1 of 2 gold answers.*: rows.jsonl:1: accuracy None"):
        golds(trial_of(tasks, {"accuracy": 1.0}))


def test_a_task_whose_gold_misses_two_rewards_is_one_task() -> None:
    told = ToldGrader({"accuracy": 0.0, "think_format": 0.0})
    with pytest.raises(ConfigError, match=r"preflight: 5 of 5 gold answers,.* and 2 more;"):
        golds(trial_of(source(*"12345"), BOTH, process=told))
    found = golds(trial_of(source("1"), BOTH, process=told), max_bad_golds=1)
    assert found.num_tasks == len(found.bad_golds) == 1
    assert str(found) == "preflight: 0 of 1 gold answers earn full reward"


def test_a_reward_that_pays_for_an_empty_answer_is_noticed() -> None:
    told = ToldGrader({"accuracy": 1.0})
    with pytest.raises(ConfigError, match="an empty answer earns a reward on task n/0"):
        golds(trial_of(source("5"), {"accuracy": 1.0}, process=told))


def test_a_reward_outside_of_its_declared_range_is_noticed() -> None:
    told = ToldGrader({"accuracy": 1.0, "think_format": 1.5})
    with pytest.raises(ConfigError, match=r"'think_format' gave 1\.5 .* its range 0 to 1"):
        golds(trial_of(source("5"), BOTH, process=told))


def test_only_so_many_rows_are_looked_at() -> None:
    trial = trial_of(source("1", None, "3", "4"), {"accuracy": 1.0})
    assert golds(trial, preflight_tasks=4).num_tasks == 3
    assert golds(trial, preflight_tasks=1).num_tasks <= 1
    assert golds(trial, preflight_tasks=0).num_tasks == 0


def test_rows_that_are_not_graded_in_time_are_counted() -> None:
    tasks = source(*map(str, range(1, 41)))
    found = golds(trial_of(tasks, {"accuracy": 1.0}), preflight_s=1e-9)
    assert (found.num_tasks, found.num_left) == (16, 24)
    assert str(found).endswith("16 of 16 gold answers earn full reward; 24 rows not graded (checks.preflight_s)")  # fmt: skip  # noqa: E501
    slow = MixGrader({"accuracy": 1.0}, hangs_at=1)
    assert golds(trial_of(tasks, {"accuracy": 1.0}, process=slow)).num_left == 40


def test_a_gold_is_what_the_format_reward_calls_well_formed() -> None:
    told = ToldGrader({"accuracy": 0.0})
    with pytest.raises(ConfigError):
        golds(trial_of(source("5"), {"accuracy": 1.0}, process=told))
    assert think_format(completions=told.texts) == [1.0, 0.0]  # the gold, and nothing


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
    with pytest.raises(
        ConfigError, match=r"1 of 2 gold answers.*code/1: passes_tests 0.0 \(wrong_a"
    ):
        golds(trial_of(tasks, {"passes_tests": 1.0, "think_format": 0.1}))


OWN = "own_rewards:short"


def test_each_reward_is_tried_alone_on_a_gold_a_sentence_and_nothing() -> None:
    trial = trial_of(source("5", "6"), {"accuracy": 1.0, OWN: 1.0})
    assert trial.try_each() == ["accuracy", OWN]
    assert [names for names, _ in trial.process.calls] == [("accuracy",), (OWN,)]
    gold, sentence, nothing = trial.process.calls[1][1].texts
    assert r"\boxed{5}" in gold and sentence and not nothing
    assert [row["answer"] for row in trial.process.calls[1][1].columns] == ["5", "6", "5"]


def test_fast_rewards_grade_the_golds_too_and_their_range_is_checked() -> None:
    trial = trial_of(source("5"), {"accuracy": 1.0, OWN: 1.0})
    golds(trial, fast=[OWN])
    assert trial.process.calls[0][0] == ("accuracy", OWN)


def test_rewards_that_are_too_heavy_are_left_alone() -> None:
    trial = trial_of(source("5"), {"accuracy": 1.0, "own_rewards:heavy": 1.0})
    assert trial.try_each() == ["accuracy"]


def test_a_slow_reward_is_not_tried_and_named(caplog: pytest.LogCaptureFixture) -> None:
    slow = MixGrader({OWN: 1.0}, hangs_at=1)
    with caplog.at_level(logging.WARNING):
        assert trial_of(source("5"), {OWN: 1.0}, process=slow).try_each() == []
    assert f"rewards.{OWN}: no result within" in caplog.text


def test_a_reward_for_no_row_is_named(caplog: pytest.LogCaptureFixture) -> None:
    rewards = {"accuracy": 1.0, OWN: {"only": {"kind": "cod"}}}
    with caplog.at_level(logging.WARNING):
        trial_of(source("5"), rewards).try_each()
    assert f"rewards.{OWN}.only: fits no task" in caplog.text


class Broken(MixGrader):
    def grade(self, *args: Any, **kwargs: Any) -> list[RewardResult]:
        raise RewardFailed("reward 'mine:own' failed with KeyError: 'x' (/home/me/mine.py:7)")


def test_a_broken_reward_is_one_line_that_names_the_log() -> None:
    with pytest.raises(ConfigError) as refused:
        trial_of(source("5"), {OWN: 1.0}, process=Broken({})).try_each()
    assert str(refused.value) == (
        "rewards: reward 'mine:own' failed with KeyError: 'x' (/home/me/mine.py:7); its output: "
        "logs/preflight.log"
    )


def test_a_judge_that_does_not_answer_is_noticed_but_not_one_lost_reply() -> None:
    lost = Grade.of(Outcome.ERROR, "the judge does not reply: 401")
    rewards = {"judge_rubric": {"options": {"url": "http://127.0.0.1:1/v1", "model": "m"}}}
    told = ToldGrader(grades={"judge_rubric": lost})
    with pytest.raises(ConfigError, match="'judge_rubric' cannot grade: the judge does not reply"):
        trial_of(source("5"), rewards, process=told).try_each()
