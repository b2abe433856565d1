"""`rlvr replay RUN STEP`: does the learner take a stored step again, with the same numbers?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder
from rlvr.run.stage_protocol import Stage
from rlvr.stages.replay.replay_config import ReplayConfig
from rlvr.stages.replay.stored_step import StoredStep, find_step

__all__ = ["STAGE", "recipe_of"]


def recipe_of(run: str, step: int, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Return the recipe of a run, and the overrides that turn it into that of a replay.

    Raises ConfigError: `run` is not the folder of a run.
    """
    recipe = Path(run) / "config.yaml"
    if not recipe.is_file():
        raise ConfigError(f"{run}: not the folder of a run: it has no config.yaml")
    ours = {
        "learner.from_rollouts": run,
        "replay.step": step,
        "rollout.only": False,
        "eval.tasks": None,
        "checkpoint.keep": 1,
    }
    return str(recipe), [*(f"{k}={json.dumps(v)}" for k, v in ours.items()), *overrides]


def _check(config: ReplayConfig) -> StoredStep:
    run = RunFolder(config.replayed_run)
    if any(change.key == "rollout.only" for change in run.changes(config)):
        raise ConfigError(f"{run.path}: made with rollout.only: no learner took its steps")
    return find_step(run, config.replay.step, model_path=config.model.path)


def _run(config: ReplayConfig, folder: RunFolder, stored: StoredStep) -> None:
    from rlvr.stages.replay.replay_run import run_replay

    run_replay(config, folder, stored)


def _closing(config: ReplayConfig, folder: RunFolder) -> str:
    return (folder.path / "replay.txt").read_text(encoding="utf-8").rstrip()


STAGE = Stage(
    schema=ReplayConfig,
    check=_check,
    run=_run,
    closing=_closing,
    is_repeatable=True,
)
