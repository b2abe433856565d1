"""The loop with small fakes: what happens in which order, what is kept, and what stops a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fakes import report_of
from loop_runs import Killed, Run, seeds, stopped_at

from rlvr.errors import ActorDied, CheckError
from rlvr.run.checkpoints import evaluated_checkpoints
from rlvr.types import Ledger


def stale(**rollout: Any) -> dict[str, Any]:
    return {"tasks_per_step": 2, "group_size": 2, "max_tokens": 16, "max_staleness": 1} | rollout


def test_on_policy_a_rollout_batch_starts_after_the_sync_of_the_step_before(tmp_path: Path) -> None:
    run = Run(tmp_path)
    state = run.start()
    expected = ["sync 0"]
    for t in range(3):
        expected += [f"generate {t} under {t}", f"generate {t} ends"]
        expected += [f"step {t}", f"step {t} ends", f"sync {t + 1}"]
    assert run.events == [*expected, "save"]
    assert (state.step, state.ledger.cursor) == (3, 6)
    assert [line["policy/staleness"] for line in run.log.steps] == [0, 0, 0]


def test_with_staleness_1_the_next_batch_is_written_while_the_learner_works(tmp_path: Path) -> None:
    run = Run(tmp_path, {"rollout": stale()})
    run.learner.ended[0] = run.engines.holds[2] = asyncio.Event()  # a group that outlasts step 0
    run.start()
    at = run.events.index
    assert at("generate 2 under 0") < at("step 0") < at("step 0 ends") < at("generate 2 ends")
    assert at("sync 1") < at("generate 4 under 1") < at("step 1 ends")
    assert [line["policy/staleness"] for line in run.log.steps] == [0, 1, 1]
    assert len(run.engines.requests) == 6  # groups of the whole run


@pytest.mark.parametrize("max_staleness", [0, 1, 2])
def test_every_task_is_trained_exactly_once(tmp_path: Path, max_staleness: int) -> None:
    run = Run(tmp_path, {"num_steps": 6, "rollout": stale(max_staleness=max_staleness)})
    run.start()
    trained = [task_id for step in run.log.task_ids for task_id in step]
    assert sorted(trained) == sorted(f"train/{i}" for i in range(12))
    versions = {
        int(r.completion.policy_versions.min()) - step
        for step, groups in enumerate(run.log.groups)
        for group in groups
        for r in group.rollouts
    }
    assert min(versions) == -max_staleness


def test_what_is_saved_is_the_ledger_of_the_batch_that_was_trained(tmp_path: Path) -> None:
    run = Run(tmp_path, {"num_steps": 4, "rollout": stale(), "checkpoint": {"every_steps": 1}})
    run.learner.failures[2] = Killed()
    with pytest.raises(Killed):
        run.start()
    assert len(run.engines.requests) == 8  # of two batches ahead of what is trained
    found = run.checkpoints.latest()
    assert found is not None
    assert (found[1].step, found[1].ledger) == (2, Ledger(cursor=6, open=(4, 5)))


@pytest.mark.parametrize("killed_at", [1, 2, 3, 5])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, killed_at: int) -> None:
    sections = {"num_steps": 6, "checkpoint": {"every_steps": 2}}
    whole = Run(tmp_path / "whole", sections)
    whole.start()
    first = Run(tmp_path / "killed", sections)
    first.learner.failures[killed_at] = Killed()
    with pytest.raises(Killed):
        first.start()
    second = Run(tmp_path / "killed", sections)
    state = second.start()
    kept = killed_at // 2 * 2  # steps up to the last checkpoint
    assert second.learner.weights == whole.learner.weights
    assert first.log.task_ids[:kept] + second.log.task_ids == whole.log.task_ids
    assert seeds(first)[:kept] + seeds(second) == seeds(whole)
    assert (state.step, state.ledger.cursor) == (6, 12)
    assert len({seed for step in seeds(whole) for seed in step}) == 6 * 4


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_a_stop_in_the_middle_of_a_rollout_batch_keeps_the_last_whole_step(
    tmp_path: Path, max_staleness: int
) -> None:
    run = Run(tmp_path, {"rollout": stale(max_staleness=max_staleness)})
    call = 1 + max_staleness  # a call is a batch, or a group
    run.engines.holds[call] = asyncio.Event()  # is never set
    assert stopped_at(run, "step 0 ends", f"generate {call} under {1 - max_staleness}") == 1
    found = run.checkpoints.latest()
    ledger = Ledger(cursor=4, open=(2, 3)) if max_staleness else Ledger(cursor=2)
    assert found is not None and (found[1].step, found[1].ledger) == (1, ledger)
    assert [line["step"] for line in run.log.steps] == [1]
    assert run.engines.num_running == 0


def test_a_run_stopped_while_it_waits_for_the_next_rollout_batch_goes_on_with_the_same_tasks(
    tmp_path: Path,
) -> None:
    sections = {"num_steps": 4, "rollout": stale()}
    whole = Run(tmp_path / "whole", sections)
    whole.start()
    first = Run(tmp_path / "stopped", sections)
    first.engines.holds[4] = asyncio.Event()  # is never set
    assert stopped_at(first, "step 1 ends", "generate 4 under 1") == 2
    second = Run(tmp_path / "stopped", sections)
    second.start()
    assert first.log.task_ids + second.log.task_ids == whole.log.task_ids


def test_a_stop_during_the_learners_step_lets_it_end(tmp_path: Path) -> None:
    run = Run(tmp_path, {"checkpoint": {"every_steps": 1}})
    assert stopped_at(run, "step 1") == 2
    assert run.events[run.events.index("step 1 ends") :] == ["step 1 ends", "save"]
    assert run.events.count("save") == 2  # of step 1 and of step 2, the latter not twice
    assert [line["step"] for line in run.log.steps] == [1, 2]


def test_a_stop_before_the_first_step_writes_no_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path, num_eval_tasks=3)
    run.engines.holds[0] = asyncio.Event()  # of the evaluation; is never set
    assert stopped_at(run, "generate 0 under 0") == 0
    assert run.checkpoints.latest() is None
    assert run.checkpoints.latest_step == 0


def test_a_stop_during_the_first_sync_does_not_wait_for_it(tmp_path: Path) -> None:
    sections = {"num_steps": 4, "checkpoint": {"every_steps": 1}}
    first = Run(tmp_path, sections)
    first.learner.failures[2] = Killed()
    with pytest.raises(Killed):
        first.start()
    second = Run(tmp_path, sections)
    second.sync.hold = asyncio.Event()  # is never set
    assert stopped_at(second, "load") == 2
    assert second.events == ["load"]


def test_evaluation_comes_before_the_first_step_every_n_and_after_the_last(tmp_path: Path) -> None:
    run = Run(tmp_path, {"num_steps": 5, "eval": {"every_steps": 2}}, num_eval_tasks=3)
    run.start()
    at = run.events.index
    assert [evaluation.step for evaluation in run.log.evaluations] == [0, 2, 4, 5]
    assert at("evaluation 0") < at("step 0")
    assert at("sync 2") < at("evaluation 2") < at("step 2")
    of_eval = [step for step in seeds(run) if len(step) == 3]
    assert of_eval == [of_eval[0]] * 4  # the same seeds each time: like is compared with like


def test_the_score_of_a_checkpoint_is_that_of_the_evaluation_of_its_step(tmp_path: Path) -> None:
    sections = {"num_steps": 3, "eval": {"every_steps": 2}, "checkpoint": {"every_steps": 1}}
    run = Run(tmp_path, sections, num_eval_tasks=2)
    run.start()
    scores = {one.step: one.pass_at_1 for one in run.log.evaluations if one.step}
    assert set(scores) == {2, 3}  # of the checkpoints that stay
    assert evaluated_checkpoints(tmp_path / "checkpoints") == scores


def test_the_completions_of_an_evaluation_are_those_of_the_version_that_it_names(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, {"rollout": stale(), "eval": {"every_steps": 1}}, num_eval_tasks=3)
    run.start()
    calls = [event for event in run.events if event.startswith(("generate", "evaluation"))]
    before = [calls[i - 2] for i, event in enumerate(calls) if event.startswith("evaluation")]
    assert [event.split()[-1] for event in before] == ["0", "1", "2", "3"]


def test_an_evaluation_that_a_kill_cut_short_is_made_again(tmp_path: Path) -> None:
    sections = {"num_steps": 2}
    first = Run(tmp_path, sections, num_eval_tasks=3)
    first.engines.failures[3] = ActorDied("engine 0 died")  # eval, step, step, eval
    with pytest.raises(ActorDied):
        first.start()
    second = Run(tmp_path, sections, num_eval_tasks=3)
    second.start()
    assert second.events[:2] == ["load", "sync 2"]
    assert [evaluation.step for evaluation in second.log.evaluations] == [2]
    assert second.log.steps == []


@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("max_staleness", [0, 1])
def test_a_dead_engine_ends_the_run_under_its_own_name(
    tmp_path: Path, max_staleness: int, call: int
) -> None:
    run = Run(tmp_path, {"rollout": stale(max_staleness=max_staleness)})
    run.engines.failures[call] = ActorDied("engine 0 died in generate; its log: logs/engine.log")
    with pytest.raises(ActorDied, match="engine 0 died in generate"):
        run.start()
    assert run.engines.num_running == 0


def test_a_dead_grader_ends_the_run_under_its_own_name(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.graders.failure = ActorDied("reward worker 0 died")
    with pytest.raises(ActorDied, match="reward worker 0 died"):
        run.start()


def test_a_sync_that_fails_its_proof_ends_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.sync.failure = CheckError("they do not hold the same weights")
    with pytest.raises(CheckError, match="same weights"):
        run.start()
    assert run.events == []


@pytest.mark.parametrize(
    ("step", "values", "message"),
    [
        (0, {"max_ratio_error": 0.02}, r"first step: a ratio .* differs from 1 by 0\.02"),
        (2, {"mismatch_p99": 0.5}, r"mismatch .* is 0\.5 nats"),
        (1, {"mismatch_p99": float("nan")}, r"mismatch .* is nan nats"),
    ],
)
def test_a_report_that_cannot_be_trusted_ends_the_run(
    tmp_path: Path, step: int, values: dict[str, float], message: str
) -> None:
    run = Run(tmp_path)
    run.learner.reports[step] = report_of(**values)
    with pytest.raises(CheckError, match=message):
        run.start()
    assert len(run.log.steps) == step


def test_a_mismatch_over_the_first_limit_is_told_once_and_the_run_goes_on(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.learner.reports |= {1: report_of(mismatch_p99=5e-3), 2: report_of(mismatch_p99=6e-3)}
    assert run.start().step == 3
    [warning] = run.log.warnings
    assert warning.startswith("mismatch of learner and engine")
    assert "is 0.005 nats" in warning
    assert [line["policy/mismatch_p99"] for line in run.log.steps] == [1e-5, 5e-3, 6e-3]


def test_what_may_differ_later_does_not_end_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path, {"rollout": stale()})
    run.learner.reports[1] = report_of(max_ratio_error=3.0, mismatch_p99=0.5)  # staleness is 1
    assert run.start().step == 3


def test_rewards_without_spread_end_the_run_after_the_agreed_number_of_steps(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, {"num_steps": 5, "checks": {"max_no_signal_batches": 3}})
    run.graders.always = 0.0
    with pytest.raises(CheckError, match=r"for 3 rollout batches .*all rewards are 0"):
        run.start()
    assert len(run.log.steps) == 2


def test_a_batch_whose_gradient_is_not_finite_is_kept(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.learner.failures[1] = CheckError("the gradient is not finite")
    with pytest.raises(CheckError, match=r"not finite; the batch is saved as broken_batch_2\.npz"):
        run.start()
    [(step, batch)] = run.log.broken
    assert step == 2
    assert batch.num_rollouts == 4


def test_the_reference_is_replaced_every_n_steps(tmp_path: Path) -> None:
    loss = {"beta": 0.1, "replace_reference_every": 2}
    run = Run(tmp_path, {"num_steps": 5, "loss": loss})
    run.start()
    around = [
        run.events[i - 1] for i, event in enumerate(run.events) if event == "replace reference"
    ]
    assert around == ["step 1 ends", "step 3 ends"]


@pytest.mark.parametrize(
    ("loss", "advantage"),
    # rewards 1 and 0: mean 1/2, deviation of the two sqrt(1/2)
    [("grpo", 0.5 / (0.5**0.5 + 1e-4)), ("dapo", 0.5 / (0.5**0.5 + 1e-4)), ("dr_grpo", 0.5)],
)
def test_dr_grpo_does_not_divide_by_the_deviation(
    tmp_path: Path, loss: str, advantage: float
) -> None:
    run = Run(tmp_path, {"num_steps": 1, "loss": {"name": loss}})
    run.start()
    [groups] = run.log.groups
    assert [r.advantage for r in groups[0].rollouts] == pytest.approx([advantage, -advantage])


@pytest.mark.parametrize(("beta", "num_skipped"), [(0.0, 4), (0.1, 0)])
def test_rows_without_signal_are_skipped_only_without_a_kl_term(
    tmp_path: Path, beta: float, num_skipped: int
) -> None:
    """The KL term gives them a gradient."""
    run = Run(tmp_path, {"num_steps": 1, "loss": {"beta": beta}})
    run.graders.always = 1.0
    run.start()
    (batch,) = run.learner.batches
    assert (batch.num_rollouts, batch.num_skipped) == (4, num_skipped)
    num_rows = sum(len(part.completion_lengths) for part in batch.micro_batches[0])
    assert num_rows == 4 - num_skipped
