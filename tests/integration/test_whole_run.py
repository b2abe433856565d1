"""A run from the command line to its summary, and the same command typed again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from actor_groups import tiny_recipe
from whole_runs import (
    Run,
    assert_nothing_is_left,
    checkpoint_steps,
    lines,
    rollouts,
    running,
    shared_memory,
    train_lines,
)

from rlvr.data.model_files import check_model

NUM_STEPS = 12
QUICKLY_S = 20.0  # about 2 s on a quiet machine; a run takes half a minute to start
METRICS = """
reward/mean reward/std reward/accuracy/mean reward/think_format/mean reward/ungraded_frac
group/no_signal_frac completion/length/mean completion/length/max completion/truncated_frac
completion/reflection_words/mean
policy/entropy policy/clip_frac policy/kl policy/max_ratio_error policy/staleness
policy/mismatch_kl policy/mismatch_median policy/mismatch_p99 policy/mismatch_beyond_frac
learner/loss learner/grad_norm tokens/completion tokens/useful tokens/computed tokens/per_s
sync/probe_error time/step_s time/generate_s time/grade_s time/rollout_wait_s time/learn_s
time/sync_s time/other_s
"""


@pytest.fixture(scope="module")
def done(uninterrupted: Run) -> Path:
    """The folder of a run that nobody interrupted."""
    return uninterrupted.folder


def test_a_run_ends_with_status_0_and_prints_before_and_after(uninterrupted: Run) -> None:
    assert uninterrupted.process.returncode == 0
    assert f"after {NUM_STEPS} steps" in uninterrupted.output
    assert "pass@1" in uninterrupted.output and "well-formed" in uninterrupted.output
    assert uninterrupted.error_lines == []


def test_metrics_have_every_name_that_is_promised_in_each_step_once(done: Path) -> None:
    names = METRICS.split()
    steps = train_lines(done)
    assert [line["step"] for line in steps] == list(range(1, NUM_STEPS + 1))
    for line in steps:
        assert set(names) <= line.keys()
        assert all(np.isfinite(line[name]) for name in names)


def test_on_policy_metrics_say_that_learner_and_engine_agree(done: Path) -> None:
    for line in train_lines(done):
        assert line["policy/staleness"] == 0
        assert line["policy/mismatch_kl"] < 1e-8
        assert line["policy/mismatch_median"] <= line["policy/mismatch_p99"] < 1e-4
        assert line["policy/mismatch_beyond_frac"] == 0
        assert line["sync/probe_error"] < 1e-5
        assert line["policy/clip_frac"] == 0


def test_it_is_evaluated_before_the_first_step_and_after_the_last(done: Path) -> None:
    evaluations = [line for line in lines(done) if "eval/pass_at_1" in line]
    assert [line["step"] for line in evaluations] == [0, NUM_STEPS]


def test_the_summary_has_the_public_keys(done: Path) -> None:
    summary = json.loads((done / "summary.json").read_text())
    assert set(summary) == {"before", "after", "best", "num_steps", "wall_s"}
    for side in ("before", "after"):
        assert {"pass_at_1", "pass_at_1_stderr", "format_frac", "num_tasks"} <= set(summary[side])
    assert summary["num_steps"] == NUM_STEPS and summary["after"]["num_tasks"] == 4


def test_the_manifest_says_versions_seed_revision_and_hardware(done: Path) -> None:
    manifest = json.loads((done / "manifest.json").read_text())
    assert manifest["seed"] == 0 and "git_revision" in manifest
    assert {"torch", "ray", "deepspeed", "transformers"} <= set(manifest["versions"])
    assert manifest["hardware"]["num_cpus"] >= 1 and manifest["hardware"]["memory_bytes"] > 0


def test_rollouts_keep_prompt_completion_rewards_reasons_advantage_and_version(done: Path) -> None:
    by_step = rollouts(done)
    assert sorted(by_step) == list(range(1, NUM_STEPS + 1))
    for step, rows in by_step.items():
        assert len(rows) == 16
        for row in rows:
            assert row["step"] == step and row["policy_version"] == step - 1
            assert row["prompt"].startswith("User: ") and row["prompt"].endswith("Assistant:")
            parts = [row[f"{name}/value"] for name in ("odd_rewards:slow_letters", "accuracy")]
            assert row["reward"] == pytest.approx(sum(parts) + row["think_format/value"])
            assert row["accuracy/reason"] and row["think_format/outcome"]
        groups = np.array([row["advantage"] for row in rows]).reshape(4, 4)
        np.testing.assert_allclose(groups.mean(axis=1), 0, atol=1e-6)
        assert np.abs(groups).max() > 0.5


def test_every_task_is_trained_once(done: Path) -> None:
    pairs = [(r["task_id"], r["sample_index"]) for rows in rollouts(done).values() for r in rows]
    assert len(set(pairs)) == len(pairs) == NUM_STEPS * 16


def test_the_newest_checkpoints_stay_and_chatter_is_in_log_files(done: Path) -> None:
    assert checkpoint_steps(done) == [NUM_STEPS - 2, NUM_STEPS]
    logs = {path.name for path in (done / "logs").iterdir()}
    assert {"driver.log", "engine_0.log", "learner_0.log", "rewards_0.log"} <= logs


def test_the_final_model_loads_with_from_pretrained_and_is_not_the_one_it_began_with(
    done: Path, tiny_model: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trained = AutoModelForCausalLM.from_pretrained(done / "model", dtype=torch.float32)
    start = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    tokens = AutoTokenizer.from_pretrained(done / "model")("User: 2+3?", return_tensors="pt")
    with torch.no_grad():
        logits = [model(tokens["input_ids"]).logits for model in (trained, start)]
    assert torch.isfinite(logits[0]).all()
    assert (logits[0] - logits[1]).abs().max() > 0.01


def test_each_checkpoint_is_a_model_with_the_weights_that_were_trained(done: Path) -> None:
    from transformers import AutoModelForCausalLM

    loaded = {}
    for step in checkpoint_steps(done):
        path = check_model(f"{done}@{step}")
        loaded[step] = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).state_dict()
        shards = done / "checkpoints" / f"step_{step:06d}" / "learner"
        trained = torch.load(shards / "mp_rank_00_model_states.pt", weights_only=False)["module"]
        for name, weight in loaded[step].items():
            assert torch.equal(weight, trained[f"model.{name}"]), name
    before, last = loaded.values()
    assert any(not torch.equal(before[name], last[name]) for name in last)
    final = AutoModelForCausalLM.from_pretrained(done / "model", dtype=torch.float32).state_dict()
    assert all(torch.equal(final[name], last[name]) for name in last)


def test_the_same_command_again_prints_the_table_and_how_to_start_anew(
    uninterrupted_recipe: dict[str, Any], done: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    with running(uninterrupted_recipe, tmp_path) as again:
        assert again.wait() == 0
    assert time.monotonic() - started < QUICKLY_S
    assert "pass@1" in again.output and f"or delete {done}" in again.output
    assert again.error_lines == []


def test_another_config_is_refused_with_the_keys_that_differ(
    uninterrupted_recipe: dict[str, Any], done: Path, tmp_path: Path
) -> None:
    with running(uninterrupted_recipe, tmp_path, "loss.beta=0.5", "seed=3") as other:
        assert other.wait(QUICKLY_S) == 2
    (line,) = other.error_lines
    assert line.startswith(f"rlvr: {done}: made from another config: loss.beta was 0.0 and is 0.5;")
    assert "seed was 0 and is 3" in line


def test_a_failed_preflight_ends_the_command_before_an_actor_starts(
    tiny_model: Path, tmp_path: Path
) -> None:
    before = shared_memory()
    recipe = tiny_recipe(tiny_model, tmp_path, prompt={"answer_style": "r1"})
    with running(recipe, tmp_path) as run:
        assert run.wait() == 2
        assert_nothing_is_left(run, before)
    (line,) = run.error_lines
    assert line.startswith("rlvr: preflight: 16 of 16 gold answers")
    assert not (run.folder / "logs" / "ray").exists()
    assert not (run.folder / "summary.json").exists()
