"""The loop without a learner, and on stored batches without engines."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from fakes import config_of
from loop_runs import DEADLINE_S, Run
from pydantic import ValidationError

from rlvr.errors import ConfigError
from rlvr.grpo.engines_alone import NoLearner, UnchangedEngines
from rlvr.grpo.learner_alone import (
    StoredBatches,
    check_stored_batches,
    max_tokens_of,
    stored_prompt,
)
from rlvr.grpo.loop import GrpoLoop
from rlvr.run.rollout_store import rollout_rows, write_rollouts
from rlvr.run.run_folder import RunFolder
from rlvr.types import TrainState
from rlvr.weight_sync.sync import no_sync

MINIBATCHES = {"num_steps": 6, "rollout": {"tasks_per_step": 2, "num_minibatches": 3}}


def ran(loop: GrpoLoop, *, until: int | None = None) -> TrainState:
    return asyncio.run(asyncio.wait_for(loop.run(until=until), DEADLINE_S))


def whole(folder: Path, *, with_tokens: bool = True, **sections: Any) -> Run:
    """A run of both halves, with its rollouts on disk."""
    run = Run(folder, sections=sections)
    run.start()
    stored = RunFolder(folder)
    stored.write_config(config_of(**sections))
    for step, groups in enumerate(run.log.groups, start=1):
        prompts = [f"User: {group.task.prompt}" for group in groups]
        rows = rollout_rows(groups, prompts, step=step, with_tokens=with_tokens)
        write_rollouts(stored.rollouts / f"step_{step:06d}.parquet", rows)
    return run


def learner_alone(run: Run, source: Run) -> GrpoLoop:
    loop = run._loop()
    batches = StoredBatches(source.folder, rollout=loop.config.rollout)
    return dataclasses.replace(loop, batches=batches, sync_weights=no_sync)


def engines_alone(run: Run) -> GrpoLoop:
    run.engines.version = 0
    loop = run._loop()
    collector = dataclasses.replace(loop.collector, engines=UnchangedEngines(run.engines))
    return dataclasses.replace(loop, learner=NoLearner(), collector=collector, sync_weights=no_sync)


@pytest.mark.parametrize("sections", [{}, MINIBATCHES], ids=["batches", "mini-batches"])
def test_stored_batches_train_the_same_weights(tmp_path: Path, sections: dict[str, Any]) -> None:
    source = whole(tmp_path / "source", **sections)
    run = Run(tmp_path / "again", sections=sections)
    state = ran(learner_alone(run, source))
    assert run.learner.weights == source.learner.weights != 1.0
    assert run.engines.requests == []
    assert run.log.task_ids == source.log.task_ids
    assert state == source.checkpoints.latest()[1]
    names = ("reward/mean", "reward/accuracy/mean", "tokens/completion", "learner/loss")
    for line, expected in zip(run.log.steps, source.log.steps, strict=True):
        assert {name: line[name] for name in names} == {name: expected[name] for name in names}
        assert line["sync/probe_error"] is None


def test_stored_batches_continue_after_the_last_checkpoint(tmp_path: Path) -> None:
    source = whole(tmp_path / "source")
    sections = {"checkpoint": {"every_steps": 1}}
    run = Run(tmp_path / "again", sections=sections)
    ran(learner_alone(run, source), until=2)
    resumed = Run(tmp_path / "again", sections=sections)
    ran(learner_alone(resumed, source))
    assert resumed.log.task_ids == source.log.task_ids[2:]
    assert resumed.learner.weights == source.learner.weights


def test_a_mini_batch_has_the_token_limit_of_its_rollout_batch() -> None:
    rollout = {"tasks_per_step": 2, "max_tokens": 16, "num_minibatches": 2}
    section = config_of(rollout=rollout | {"max_tokens_from": {3: 8}}).rollout
    assert [max_tokens_of(step, rollout=section) for step in range(6)] == [16, 16, 16, 16, 8, 8]


def test_a_stored_prompt_is_not_put_into_the_template_again(tmp_path: Path) -> None:
    source = whole(tmp_path / "source")
    run = Run(tmp_path / "again")
    ran(learner_alone(run, source))
    assert {stored_prompt(g.task) for groups in run.log.groups for g in groups} == {"User: ?"}


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_engines_alone_make_the_batches_of_a_whole_run(tmp_path: Path, max_staleness: int) -> None:
    rollout = {"tasks_per_step": 2, "group_size": 2, "max_staleness": max_staleness}
    expected = whole(tmp_path / "both", rollout=rollout)
    run = Run(tmp_path / "alone", sections={"rollout": rollout})
    state = ran(engines_alone(run))
    assert (state.step, state.ledger.cursor) == (3, 6)
    assert run.log.task_ids == expected.log.task_ids
    for step, groups in enumerate(run.log.groups, start=1):
        found = {int(v) for g in groups for r in g.rollouts for v in r.completion.policy_versions}
        assert found <= set(range(max(0, step - 1 - max_staleness), step))
    assert not any(event.startswith(("step", "sync", "save")) for event in run.events)
    for line in run.log.steps:
        assert line["policy/entropy"] is line["sync/probe_error"] is None
        assert line["reward/mean"] == 0.5


def test_engines_alone_can_be_evaluated(tmp_path: Path) -> None:
    run = Run(tmp_path, num_eval_tasks=2)
    ran(engines_alone(run))
    assert [(one.step, one.pass_at_1) for one in run.log.evaluations] == [(0, 1.0), (3, 1.0)]


def test_engines_alone_continue_after_the_last_checkpoint(tmp_path: Path) -> None:
    sections = {"checkpoint": {"every_steps": 1}}
    expected = Run(tmp_path / "whole")
    ran(engines_alone(expected))
    ran(engines_alone(Run(tmp_path / "alone", sections=sections)), until=2)
    resumed = Run(tmp_path / "alone", sections=sections)
    ran(engines_alone(resumed))
    assert resumed.log.task_ids == expected.log.task_ids[2:]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"rollout": {"only": True}, "learner": {"from_rollouts": "runs/a"}},
            "true leaves out the learner and learner.from_rollouts: runs/a the engines; give one",
        ),
        (
            {"learner": {"from_rollouts": "runs/a"}},
            "eval.tasks: learner.from_rollouts: runs/a starts no engines, .* set eval.tasks=null",
        ),
    ],
)
def test_halves_that_do_not_fit_are_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config_of(eval={"tasks": {"source": "toy", "num_tasks": 4}}, **sections)


def refusal(run: Path, **sections: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        check_stored_batches(config_of(**sections), run=run)
    return str(refused.value)


def test_a_run_whose_batches_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "fake"
    whole(source)
    check_stored_batches(config_of(), run=source)
    assert refusal(tmp_path / "none").endswith("none is not the folder of a GRPO run")
    assert "is the folder of this run" in refusal(source, output_dir=str(tmp_path))
    assert refusal(source, num_steps=5).endswith("has no stored batch of step 4; set num_steps=3")
    assert refusal(source, loss={"name": "dr_grpo"}).startswith("loss.name: dr_grpo needs other")
    check_stored_batches(config_of(loss={"name": "dapo"}), run=source)
    texts = tmp_path / "texts"
    whole(texts, with_tokens=False)
    assert "step_000001.parquet: its rows have no token ids" in refusal(texts)
