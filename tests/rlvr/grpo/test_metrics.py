"""The numbers of a step, and the file that keeps them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fakes import completion_of, group_of, report_of, rollout_of

from rlvr.errors import RLVRError
from rlvr.grpo.metrics import StepTimes, step_metrics
from rlvr.grpo.open_batch import BufferCounts
from rlvr.grpo.rollouts import RolloutBatch
from rlvr.run.row_log import MetricsFile
from rlvr.types import FinishReason, Group, Rollout

TIMES = StepTimes(step_s=2.0, rollout_wait_s=1.0, learn_s=0.5, sync_s=0.25)
NAMES = """
step
reward/mean reward/std reward/accuracy/mean reward/think_format/mean reward/ungraded_frac
group/no_signal_frac completion/length/mean completion/length/max completion/truncated_frac
completion/reflection_words/mean
policy/entropy policy/clip_frac policy/kl policy/max_ratio_error policy/staleness
policy/staleness_mean policy/old_tokens_frac
policy/mismatch_kl policy/mismatch_median policy/mismatch_p99 policy/mismatch_beyond_frac
buffer/stale buffer/no_signal buffer/waiting buffer/under_way engine/idle_frac
learner/loss learner/grad_norm tokens/completion tokens/useful tokens/computed tokens/per_s
sync/probe_error time/step_s time/generate_s time/grade_s time/rollout_wait_s time/learn_s
time/sync_s time/other_s
"""


def saying(text: str) -> Rollout:
    rollout = rollout_of(1.0, accuracy=1.0)
    return dataclasses.replace(
        rollout, completion=dataclasses.replace(rollout.completion, text=text)
    )


def cut_off(rollout: Rollout, num_tokens: int) -> Rollout:
    completion = completion_of(num_tokens=num_tokens, finish_reason=FinishReason.LENGTH)
    return dataclasses.replace(rollout, completion=completion)


def metrics_of(*groups: Group, **report: Any) -> dict[str, Any]:
    batch = RolloutBatch(groups=groups, generate_s=0.75, grade_s=0.125, num_tokens=30)
    return step_metrics(
        batch,
        groups,
        report_of(**report),
        TIMES,
        step=4,
        counts=BufferCounts(stale=1, no_signal=2, waiting=3, under_way=4),
        engine_idle_s=0.5,
        probe_error=1e-6,
    )


MIXED = group_of(
    rollout_of(1.5, accuracy=1.0, think_format=1.0),
    rollout_of(0.5, accuracy=0.0, think_format=1.0),
    cut_off(rollout_of(None, accuracy=None, think_format=0.0), 9),
)
FLAT = group_of(*[rollout_of(1.0, accuracy=1.0, think_format=0.0)] * 3)


def test_the_names_are_those_that_are_listed() -> None:
    assert set(metrics_of(MIXED, FLAT)) == set(NAMES.split())


def test_rewards_are_means_over_what_was_graded() -> None:
    metrics = metrics_of(MIXED, FLAT)
    # 1.5, 0.5, 1, 1, 1: mean 1, variance (1/4 + 1/4) / 5
    assert metrics["reward/mean"] == pytest.approx(1.0)
    assert metrics["reward/std"] == pytest.approx(0.1**0.5)
    assert metrics["reward/accuracy/mean"] == pytest.approx(4 / 5)
    assert metrics["reward/think_format/mean"] == pytest.approx(2 / 6)
    assert metrics["reward/ungraded_frac"] == pytest.approx(1 / 6)
    assert metrics["group/no_signal_frac"] == 0.5


def test_lengths_and_truncation_are_over_all_completions() -> None:
    metrics = metrics_of(MIXED, FLAT)  # five of 3 tokens, one of 9
    assert metrics["completion/length/mean"] == 4.0
    assert metrics["completion/length/max"] == 9
    assert metrics["completion/truncated_frac"] == pytest.approx(1 / 6)


def test_reflection_is_counted_per_completion() -> None:
    metrics = metrics_of(group_of(saying("Wait, check that."), saying("So 2+3=5."), saying("不对")))
    assert metrics["completion/reflection_words/mean"] == 1.0


def test_the_parts_of_the_time_add_up() -> None:
    metrics = metrics_of(MIXED)
    assert metrics["time/other_s"] == 0.25
    assert metrics["tokens/per_s"] == 7.5  # 3 + 3 + 9 tokens in 2 s
    assert (metrics["time/generate_s"], metrics["time/grade_s"]) == (0.75, 0.125)


def test_ages_are_those_of_sampled_tokens() -> None:
    old = completion_of(num_tokens=4, policy_version=3)
    old.policy_versions[:] = [1, 2, 3, 3]
    old.loss_mask[0] = False  # of a tool
    metrics = metrics_of(group_of(dataclasses.replace(rollout_of(1.0), completion=old)))
    assert metrics["policy/staleness"] == 1
    assert metrics["policy/staleness_mean"] == pytest.approx(1 / 3)
    assert metrics["policy/old_tokens_frac"] == pytest.approx(1 / 3)
    assert metrics["engine/idle_frac"] == 0.25
    assert metrics["buffer/waiting"] == 3


def test_what_was_not_measured_is_null_and_not_zero() -> None:
    metrics = metrics_of(group_of(rollout_of(None), rollout_of(None)), num_loss_tokens=0)
    for name in ("reward/mean", "reward/std", "reward/accuracy/mean", "policy/entropy"):
        assert metrics[name] is None
    assert metrics["policy/staleness"] == 3  # version 0, before step 4


def test_a_line_is_plain_json() -> None:
    assert json.loads(json.dumps(metrics_of(MIXED, FLAT)))["step"] == 4


def test_lines_come_back_in_order_and_half_a_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert MetricsFile(path).lines() == []
    MetricsFile(path).append({"step": 1, "text": "\u2028 is no end of a line"})
    MetricsFile(path).append({"step": 2})
    whole = MetricsFile(path).lines()
    with path.open("a") as file:
        file.write('{"step": 3, "rew')
    assert MetricsFile(path).lines() == whole
    assert [line["step"] for line in whole] == [1, 2]


def test_a_resumed_run_forgets_what_it_will_do_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    file.append({"step": 0, "eval/pass_at_1": 0.1})
    for step in (1, 2, 3):
        file.append({"step": step, "time/step_s": 1.0})
        file.append({"step": step, "eval/pass_at_1": 0.5})
    with path.open("a") as half:
        half.write('{"step": 4')
    file.forget_after(2)
    file.append({"step": 3})
    assert [(line["step"], "eval/pass_at_1" in line) for line in file.lines()] == [
        (0, True),
        (1, False),
        (1, True),
        (2, False),
        (2, True),
        (3, False),
    ]
    file.forget_evaluation(2)  # it is made again
    assert [line["step"] for line in file.lines()] == [0, 1, 1, 2, 3]


def test_without_a_checkpoint_everything_is_forgotten(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.forget_after(-1)
    assert file.lines() == []
    file.append({"step": 0, "eval/pass_at_1": 0.1})
    file.forget_after(-1)
    assert file.lines() == []


def test_a_full_disk_is_told_in_one_line() -> None:
    with pytest.raises(RLVRError) as told:
        MetricsFile(Path("/dev/full")).append({"step": 1})
    assert str(told.value) == (
        "/dev/full: cannot be written: No space left on device; make room and run the same "
        "command to resume"
    )
    assert told.value.exit_status == 1
