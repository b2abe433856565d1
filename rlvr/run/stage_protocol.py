"""The stage protocol: how a command turns a recipe into a finished run folder.

    recipe + overrides --load--> config --lock the folder--> check --> claim --> preflight --> run

    check       errors of the user, before torch, vLLM, transformers or Ray is imported
    claim       a finished run only prints its closing text again
    preflight   what can be known before an actor starts: tokenizer, prompts, rewards

A stage module (see `STAGES`) defines `STAGE` and imports nothing heavy at its top: `Stage.run`
imports what it needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rlvr.cluster.processes import check_packages
from rlvr.config import StageConfig, load_config
from rlvr.run.continuation import Trained, claim
from rlvr.run.run_folder import RunFolder, RunStatus

__all__ = ["STAGES", "Stage", "is_done", "load_stage", "run_stage"]

# command -> module that defines STAGE
STAGES: Mapping[str, str] = {
    "grpo": "rlvr.grpo.grpo_stage",
    "sft": "rlvr.stages.sft.sft_stage",
    "sample": "rlvr.stages.sample.sample_stage",
    "distill": "rlvr.stages.distill.distill_stage",
    "clean": "rlvr.stages.clean.clean_stage",
    "eval": "rlvr.evaluation.eval_stage",
    "compare": "rlvr.evaluation.compare_stage",
    "profile": "rlvr.stages.profile.profile_stage",
    "replay": "rlvr.stages.replay.replay_stage",
    "export": "rlvr.stages.export.export_stage",
}

ConfigT = TypeVar("ConfigT", bound=StageConfig)
InputsT = TypeVar("InputsT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[ConfigT, InputsT]):
    """The parts of the protocol that differ between commands."""

    schema: type[ConfigT]
    check: Callable[[ConfigT], InputsT]  # reads inputs without heavy imports; raises ConfigError
    preflight: Callable[[ConfigT, RunFolder, InputsT], InputsT] | None = None  # see above
    run: Callable[[ConfigT, RunFolder, InputsT], None]  # writes summary last; raises RLVRError
    closing: Callable[[ConfigT, RunFolder], str]  # the text to print for a finished run folder
    work: tuple[str, ...] = ()  # glob patterns of files worth keeping; see `claim`
    trained: Callable[[ConfigT, InputsT, RunFolder], Trained] | None = None  # if the stage trains
    needs_environment: bool = True  # `run` needs torch, vLLM, DeepSpeed and Ray
    is_repeatable: bool = False  # a finished stage runs again, with any config: it is cheap


def load_stage(command: str) -> Stage[Any, Any]:
    """Import the stage of a command."""
    stage: Stage[Any, Any] = importlib.import_module(STAGES[command]).STAGE
    return stage


def run_stage(
    stage: Stage[ConfigT, InputsT],
    recipe: str,
    overrides: Sequence[str],
    *,
    check_only: bool = False,
) -> int:
    """Run a stage, resume it, or print the closing text of a finished one; return the exit status.

    With `check_only`, stop after the preflight and leave the folder unclaimed.

    Raises ConfigError: the recipe or its inputs are wrong, or the folder belongs to another config;
    RunLocked: another process runs in the folder; RLVRError: anything else that `Stage.run` raises.
    """
    config = load_config(stage.schema, recipe, overrides)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        if not check_only and is_done(stage, config):
            return _close(stage, config, folder)
        inputs = stage.check(config)
        if check_only:
            _preflight(stage, config, folder, inputs)
            print("all checks passed; without --check it starts")
            return 0
        status = claim(
            folder,
            config,
            work=stage.work,
            trained=stage.trained(config, inputs, folder) if stage.trained else None,
            is_repeatable=stage.is_repeatable,
        )
        if status is RunStatus.FINISHED and not stage.is_repeatable:
            return _close(stage, config, folder)
        inputs = _preflight(stage, config, folder, inputs)
        stage.run(config, folder, inputs)
        print(stage.closing(config, folder))
    return 0


def is_done(stage: Stage[ConfigT, InputsT], config: ConfigT) -> bool:
    """Whether the run of exactly this config is finished, so that its inputs may be gone."""
    folder = RunFolder(config.run_dir)
    is_finished = folder.status is RunStatus.FINISHED and not folder.changes(config)
    return is_finished and not stage.is_repeatable


def _close(stage: Stage[ConfigT, InputsT], config: ConfigT, folder: RunFolder) -> int:
    print(stage.closing(config, folder))
    more = "More steps continue it. " if stage.trained else ""
    print(f"This run is finished. {more}To start over: another name=..., or delete {folder.path}")
    return 0


def _preflight(
    stage: Stage[ConfigT, InputsT], config: ConfigT, folder: RunFolder, inputs: InputsT
) -> InputsT:
    if stage.needs_environment:
        check_packages()
    return stage.preflight(config, folder, inputs) if stage.preflight else inputs
