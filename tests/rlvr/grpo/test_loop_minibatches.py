"""Several optimizer steps of one rollout batch: what is in which, when the engines get the
weights, and what a run that was ended in between goes on with.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from fakes import group_of, report_of, rollout_of
from loop_runs import Killed, Run, seeds, stopped_at

from rlvr.errors import CheckError
from rlvr.grpo.advantages import assign_advantages
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.open_batch import split_minibatches
from rlvr.types import Group

ROLLOUT = {"tasks_per_step": 2, "group_size": 4, "max_tokens": 16, "num_minibatches": 3}
TRAINED = Counter((f"train/{i}", k) for i in range(12) for k in range(4))


def run_of(folder: Path, *, rollout: dict[str, Any] | None = None, **sections: Any) -> Run:
    """Two rollout batches of 24 completions, three mini-batches of 8 each."""
    return Run(folder, {"num_steps": 6, "rollout": ROLLOUT | (rollout or {}), **sections})


def trained(*runs: Run) -> Counter[tuple[str, int]]:
    """How often each completion was trained."""
    return Counter(
        (group.task.id, k)
        for run in runs
        for groups in run.log.groups
        for group in groups
        for k in group.sample_indices or range(len(group.rollouts))
    )


def test_a_rollout_batch_is_trained_in_as_many_steps_as_it_has_batches(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    state = run.start()
    expected = ["sync 0"]
    for batch, start in enumerate((0, 3)):
        expected += [f"generate {batch} under {start}", f"generate {batch} ends"]
        for step in range(start, start + 3):
            expected += [f"step {step}", f"step {step} ends"]
        expected += [f"sync {start + 3}"]
    assert run.events == [*expected, "save"]
    assert [batch.num_rollouts for batch in run.learner.batches] == [8] * 6
    assert (state.step, state.ledger.cursor) == (6, 12)


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_every_completion_is_trained_exactly_once(tmp_path: Path, max_staleness: int) -> None:
    run = run_of(tmp_path, rollout={"max_staleness": max_staleness})
    state = run.start()
    assert trained(run) == TRAINED
    assert state.num_tokens == sum(line["tokens/completion"] for line in run.log.steps)


def test_a_mini_batch_mixes_groups_whose_advantages_are_those_of_the_whole_group(
    tmp_path: Path,
) -> None:
    run = run_of(tmp_path)
    run.start()
    assert any(len(group.rollouts) < 4 for group in run.log.groups[0])
    for group in (group for groups in run.log.groups for group in groups):
        for rollout in group.rollouts:
            # rewards 1, 0, 1, 0: mean 1/2, sample deviation sqrt(1/3)
            sign = 1.0 if rollout.reward.value else -1.0
            assert rollout.advantage == pytest.approx(sign * 0.5 / ((1 / 3) ** 0.5 + 1e-4))
    assert {line["group/no_signal_frac"] for line in run.log.steps} == {0.0}


def test_what_could_not_be_graded_is_left_out_and_counted(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.graders.refuses_one_in = 6  # 4 of a rollout batch's 24
    run.start()
    batches, lines = run.learner.batches, run.log.steps
    assert sum(batch.num_rollouts for batch in batches) == 48 - 8
    assert sum(8 * line["reward/ungraded_frac"] for line in lines) == pytest.approx(8)
    assert trained(run) == TRAINED


def test_staleness_counts_optimizer_steps_since_the_weights_that_wrote(tmp_path: Path) -> None:
    on_policy, ahead = run_of(tmp_path / "a"), run_of(tmp_path / "b", rollout={"max_staleness": 1})
    on_policy.start()
    ahead.start()
    assert [line["policy/staleness"] for line in on_policy.log.steps] == [0, 1, 2, 0, 1, 2]
    assert [line["policy/staleness"] for line in ahead.log.steps] == [0, 1, 2, 3, 4, 5]
    assert [line["sync/probe_error"] is None for line in on_policy.log.steps] == [
        *(True, True, False),
        *(True, True, False),
    ]


def test_only_a_rollout_batchs_first_mini_batch_is_held_against_the_engines(tmp_path: Path) -> None:
    odd = report_of(mismatch_p99=0.5, max_ratio_error=3.0)
    run = run_of(tmp_path / "a")
    run.learner.reports |= {1: odd, 2: odd}
    assert run.start().step == 6
    run = run_of(tmp_path / "b")
    run.learner.reports[3] = odd
    with pytest.raises(CheckError, match=r"mismatch .* is 0\.5 nats"):
        run.start()


def test_a_rollout_batch_without_signal_counts_once_for_all_its_steps(tmp_path: Path) -> None:
    run = run_of(tmp_path, checks={"max_no_signal_batches": 2})
    run.graders.always = 1.0
    with pytest.raises(CheckError, match="for 2 rollout batches"):
        run.start()
    assert len(run.log.steps) == 3  # of the first batch


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4, 5])
def test_a_run_killed_between_mini_batches_goes_on_from_the_last_rollout_batch(
    tmp_path: Path, killed_at: int
) -> None:
    whole, first, second = (run_of(tmp_path / name, **EVERY_STEP) for name in ("a", "b", "b"))
    whole.start()
    first.learner.failures[killed_at] = Killed()
    with pytest.raises(Killed):
        first.start()
    state = second.start()
    kept = killed_at // 3 * 3  # checkpoints are made between two rollout batches
    assert first.events.count("save") == kept // 3
    assert second.learner.weights == whole.learner.weights
    assert first.log.task_ids[:kept] + second.log.task_ids == whole.log.task_ids
    assert (state.step, state.ledger.cursor) == (6, 12)


EVERY_STEP: dict[str, Any] = {"checkpoint": {"every_steps": 1}}


@pytest.mark.parametrize("max_staleness", [0, 1])
@pytest.mark.parametrize("stopped_after", [1, 2, 3, 5])
def test_a_run_stopped_between_mini_batches_keeps_the_rest_of_the_rollout_batch(
    tmp_path: Path, stopped_after: int, max_staleness: int
) -> None:
    rollout = {"max_staleness": max_staleness}
    whole, first, second = (run_of(tmp_path / name, rollout=rollout) for name in ("a", "b", "b"))
    whole.start()
    assert stopped_at(first, f"step {stopped_after - 1}") == stopped_after
    found = first.checkpoints.latest()
    assert found is not None
    ledger = found[1].ledger
    num_trained = ledger.cursor - len(ledger.open)
    assert (found[1].step, num_trained) == (stopped_after, stopped_after // 3 * 6)
    assert (found[0] / "rollout_batch.pickle").exists() == (stopped_after % 3 > 0)
    state = second.start()
    assert second.learner.weights == whole.learner.weights
    assert trained(first, second) == TRAINED
    assert (state.step, state.ledger.cursor, state.num_tokens) == (6, 12, whole_tokens(whole))
    assert set(chain(*seeds(second))) <= set(chain(*seeds(whole)))


def whole_tokens(run: Run) -> int:
    return sum(line["tokens/completion"] for line in run.log.steps)


def test_evaluations_and_checkpoints_wait_for_the_end_of_the_rollout_batch(tmp_path: Path) -> None:
    sections = {"eval": {"every_steps": 2}, "checkpoint": {"every_steps": 4}}
    run = Run(tmp_path, {"num_steps": 9, "rollout": ROLLOUT | {"tasks_per_step": 1}, **sections}, 3)
    run.start()
    assert [evaluation.step for evaluation in run.log.evaluations] == [0, 3, 6, 9]
    saves = [run.events[i - 1] for i, event in enumerate(run.events) if event == "save"]
    assert saves == ["sync 6", "sync 9"]


def test_the_last_rollout_batch_is_as_large_as_the_steps_that_are_left(tmp_path: Path) -> None:
    run = Run(tmp_path, {"num_steps": 4, "rollout": ROLLOUT})
    state = run.start()
    assert [len(requests) for requests in run.engines.requests] == [24, 8]
    assert (state.step, state.ledger.cursor) == (4, 8)
    assert [batch.num_rollouts for batch in run.learner.batches] == [8] * 4


def test_completions_may_be_longer_from_the_first_rollout_batch_behind_a_set_step(
    tmp_path: Path,
) -> None:
    longer = {"max_tokens_from": {2: 32}}
    run = run_of(tmp_path / "a", rollout=longer)
    run.start()
    assert run.engines.max_tokens == [16, 32]  # rollout batches begin at 0 and 3
    run = run_of(tmp_path / "b", rollout=longer | {"num_minibatches": 1, "max_staleness": 1})
    run.start()
    assert run.engines.max_tokens == [16] * 4 + [32] * 8  # of each group


def test_dr_grpo_divides_by_the_limit_under_which_the_completions_were_generated(
    tmp_path: Path,
) -> None:
    run = run_of(tmp_path, rollout={"max_tokens_from": {2: 32}}, loss={"name": "dr_grpo"})
    run.start()
    weights = [
        [float(w) for rank in batch.micro_batches for part in rank for w in part.row_weights]
        for batch in run.learner.batches
    ]
    # 8 completions in each step; steps 0 to 2 train a rollout batch that began before step 2
    expected = [1 / (8 * 16)] * 3 + [1 / (8 * 32)] * 3
    assert weights == [pytest.approx([weight] * 8) for weight in expected]


def test_an_engine_reads_the_longest_that_will_ever_be_written() -> None:
    rollout = ROLLOUT | {"max_prompt_tokens": 10, "max_tokens_from": {8200: 64, 9000: 48}}
    config = GrpoConfig.model_validate(
        {
            "name": "x",
            "num_steps": 1,
            "model": {"path": "m"},
            "tasks": {"source": "toy"},
            "rewards": {"accuracy": 1.0},
            "rollout": rollout,
        }
    )
    assert config.rollout.max_model_tokens == 10 + 64
    limits = [config.rollout.max_tokens_at(step) for step in (0, 8199, 8200, 8999, 9000)]
    assert limits == [16, 16, 64, 64, 48]
    assert GrpoConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_reference_is_replaced_in_the_middle_of_a_rollout_batch_too(tmp_path: Path) -> None:
    run = run_of(tmp_path, loss={"beta": 0.1, "replace_reference_every": 2})
    run.start()
    at = [i for i, event in enumerate(run.events) if event == "replace reference"]
    assert [run.events[i - 1] for i in at] == ["step 1 ends", "step 3 ends", "step 5 ends"]


def groups_of_two(num_groups: int) -> list[Group]:
    groups = [group_of(rollout_of(1.0), rollout_of(0.0), task_id=f"{i}") for i in range(num_groups)]
    return assign_advantages(groups, scale="std")


def test_one_mini_batch_is_the_groups_as_they_are() -> None:
    groups = groups_of_two(3)
    assert split_minibatches(groups, num_minibatches=1, seed=(0, 0)) == [tuple(groups)]


def test_the_same_seed_deals_the_same_and_another_does_not() -> None:
    def dealt(*seed: int) -> list[list[tuple[str, tuple[int, ...] | None]]]:
        parts = split_minibatches(groups_of_two(16), num_minibatches=4, seed=seed)
        return [[(group.task.id, group.sample_indices) for group in part] for part in parts]

    assert dealt(0, 8) == dealt(0, 8)
    assert dealt(0, 8) != dealt(0, 16)
    assert dealt(0, 8) != dealt(1, 8)


def test_what_does_not_divide_differs_by_one() -> None:
    parts = split_minibatches(groups_of_two(5), num_minibatches=4, seed=(0, 0))
    sizes = [sum(len(group.rollouts) for group in part) for part in parts]
    assert sizes == [3, 3, 2, 2]
