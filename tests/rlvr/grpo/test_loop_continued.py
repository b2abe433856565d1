"""A run that is continued with more or fewer steps than it was begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loop_runs import Killed, Run, stopped_at

MINIBATCHES = {"tasks_per_step": 2, "group_size": 4, "max_tokens": 16, "num_minibatches": 3}


def run_of(folder: Path, num_steps: int, *, num_eval_tasks: int = 0, **sections: Any) -> Run:
    return Run(folder, {"num_steps": num_steps, **sections}, num_eval_tasks)


def trained(*runs: Run) -> list[tuple[str, int]]:
    """Each completion that was trained, in order."""
    return [
        (group.task.id, k)
        for run in runs
        for groups in run.log.groups
        for group in groups
        for k in group.sample_indices or range(len(group.rollouts))
    ]


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_a_finished_run_goes_on_as_if_it_had_been_as_long_from_the_start(
    tmp_path: Path, max_staleness: int
) -> None:
    rollout = {"tasks_per_step": 2, "group_size": 2, "max_tokens": 16}
    whole = run_of(tmp_path / "whole", 6, rollout=rollout)
    whole.start()
    sections = {"rollout": rollout | {"max_staleness": max_staleness}}
    first = run_of(tmp_path / "grown", 4, **sections)
    first.start()
    second = run_of(tmp_path / "grown", 6, **sections)
    state = second.start()
    assert first.log.task_ids + second.log.task_ids == whole.log.task_ids
    assert (state.step, state.ledger.cursor) == (6, 12)
    if max_staleness == 0:
        assert second.learner.weights == whole.learner.weights


def test_a_run_cut_short_at_its_checkpoint_evaluates_and_trains_nothing(tmp_path: Path) -> None:
    sections = {"checkpoint": {"every_steps": 2}}
    first = run_of(tmp_path, 6, num_eval_tasks=3, **sections)
    first.learner.failures[3] = Killed()
    with pytest.raises(Killed):
        first.start()
    second = run_of(tmp_path, 2, num_eval_tasks=3, **sections)
    assert second.start().step == 2
    assert second.log.steps == []
    assert [evaluation.step for evaluation in second.log.evaluations] == [2]


def test_a_run_continued_beyond_its_end_evaluates_no_step_again(tmp_path: Path) -> None:
    run_of(tmp_path, 2, num_eval_tasks=3).start()
    second = run_of(tmp_path, 4, num_eval_tasks=3)
    second.start()
    assert [evaluation.step for evaluation in second.log.evaluations] == [4]


def test_the_rest_of_a_rollout_batch_follows_a_last_one_that_was_smaller(tmp_path: Path) -> None:
    first = run_of(tmp_path, 4, rollout=MINIBATCHES)
    first.start()
    assert [len(requests) for requests in first.engines.requests] == [24, 8]  # 3 steps and 1
    second = run_of(tmp_path, 9, rollout=MINIBATCHES)
    state = second.start()
    assert [len(requests) for requests in second.engines.requests] == [16, 24]  # 4 and 5, 6 to 8
    assert [event for event in second.events if event.startswith("sync")] == [
        *("sync 4", "sync 6", "sync 9"),
    ]
    assert (state.step, state.ledger.cursor) == (9, 18)
    tasks = [f"train/{i}" for i in range(12)]
    per_task = [sum(name == task for name, _ in trained(first, second)) for task in tasks]
    assert sum(per_task) == 18 * 4 and min(per_task) >= 4  # an epoch and a half of 12 tasks


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_a_run_cut_short_within_a_rollout_batch_ends_there_and_keeps_the_rest(
    tmp_path: Path, max_staleness: int
) -> None:
    rollout = MINIBATCHES | {"max_staleness": max_staleness}
    first = run_of(tmp_path, 6, num_eval_tasks=3, rollout=rollout)
    assert stopped_at(first, "step 3") == 4  # of the rollout batch of steps 3 to 5
    second = run_of(tmp_path, 5, num_eval_tasks=3, rollout=rollout)
    assert second.start().step == 5
    # the engines get the weights that the last evaluation is about
    assert second.events.index("sync 5") < second.events.index("evaluation 5")
    third = run_of(tmp_path, 6, num_eval_tasks=3, rollout=rollout)
    state = third.start()
    assert (state.step, state.ledger.cursor) == (6, 12)
    assert len(third.engines.requests) == 1  # of the evaluation: the rest was in the checkpoint
    everything = trained(first, second, third)
    assert len(everything) == len(set(everything)) == 6 * 8


def test_other_values_of_free_and_neutral_keys_leave_the_rollouts_as_they_are(
    tmp_path: Path,
) -> None:
    whole = run_of(tmp_path / "whole", 4)
    whole.start()
    first = run_of(tmp_path / "changed", 4, checkpoint={"every_steps": 2})
    first.learner.failures[2] = Killed()
    with pytest.raises(Killed):
        first.start()
    second = run_of(
        tmp_path / "changed",
        4,
        learner={"lr": 0.5, "token_budget": 64},
        checkpoint={"every_steps": 1},
        eval={"every_steps": 1},
    )
    second.start()
    assert first.log.task_ids + second.log.task_ids == whole.log.task_ids
    assert second.learner.weights == whole.learner.weights
