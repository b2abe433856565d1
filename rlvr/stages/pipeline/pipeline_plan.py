"""A chain of stages as a plan: what is done, what is stale, what comes next.

    recipe --resolve--> Step (command, config, folder) --state--> done, stale, interrupted, missing

A step is done where its folder is finished, was made from the config that it would have now, and
none of the files it read has changed since. That is asked again right before a step would run: a
step that was done anew and left the same files makes nothing stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rlvr.config import StageConfig, load_config
from rlvr.errors import ConfigError
from rlvr.run.manifest import changed_inputs
from rlvr.run.run_folder import RunFolder, RunStatus, read_json
from rlvr.run.stage_protocol import load_stage
from rlvr.stages.pipeline.pipeline_config import ChainConfig, StepSection

__all__ = ["Step", "StepState", "planned_steps", "state_of"]

ADDRESS = "teacher"  # of a distillation: another one each time that the chain serves it
TEACHER = {"endpoints": [{"url": "http://127.0.0.1:1/v1", "model": "teacher"}]}
_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)\}")


class StepState(StrEnum):
    """Where a step stands."""

    DONE = "done"
    STALE = "stale"
    INTERRUPTED = "interrupted"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage, resolved."""

    section: StepSection
    overrides: tuple[str, ...]
    config: StageConfig

    @property
    def name(self) -> str:
        """Of the step."""
        return self.section.name

    @property
    def folder(self) -> RunFolder:
        """Of its run."""
        return RunFolder(self.config.run_dir)

    @property
    def taught_by(self) -> Path:
        """Says by hash which model taught: the step itself knows an address alone."""
        return self.config.run_dir / "teacher.json"


def planned_steps(config: ChainConfig) -> list[Step]:
    """All steps, or `only` some and what they need; each recipe read and checked.

    Raises:
        ConfigError: a recipe that is not right, or a `{name}` that is no step above.
    """
    folders: dict[str, Path] = {}
    steps = []
    needed = _needed(config)
    for section in config.steps:
        if section.name not in needed:
            continue
        step = _resolved(section, config, folders)
        if step.config.run_dir in folders.values():
            raise ConfigError(
                f"steps.{section.name}: the folder {step.config.run_dir} is that of another step; "
                "give set: {name: ...}"
            )
        folders[section.name] = step.config.run_dir
        steps.append(step)
    return steps


def state_of(step: Step) -> tuple[StepState, str]:
    """Where a step stands now, and why, in words."""
    folder, status = step.folder, step.folder.status
    if status is RunStatus.NEW:
        return StepState.MISSING, ""
    if differing := folder.differences(step.config, free=load_stage(step.section.run).free_keys):
        return StepState.STALE, differing[0]
    if folder.manifest.exists() and (changed := changed_inputs(read_json(folder.manifest))):
        return StepState.STALE, f"{changed[0]} has changed"
    if step.taught_by.exists() and changed_inputs(read_json(step.taught_by)):
        return StepState.STALE, "the teacher has changed"
    if status is RunStatus.INTERRUPTED:
        return StepState.INTERRUPTED, ""
    if changed := folder.differences(step.config, free=(ADDRESS,)):
        return StepState.INTERRUPTED, changed[0]  # only its last part is done anew
    return StepState.DONE, ""


def _needed(config: ChainConfig) -> set[str]:
    """The steps that `only` names, and all whose folders they take, and so on."""
    names = {step.name for step in config.steps}
    needed = set(config.only) or names
    for section in reversed(config.steps):
        if section.name in needed:
            text = json.dumps([section.set, section.teacher.model if section.teacher else ""])
            needed |= names & set(_PLACEHOLDER.findall(text))
    return needed


def _resolved(section: StepSection, config: ChainConfig, folders: Mapping[str, Path]) -> Step:
    filled = {key: _filled(value, section.name, folders) for key, value in section.set.items()}
    values = {"output_dir": config.output_dir, "seed": config.seed, **filled}
    if section.teacher is not None:
        values["teacher"] = TEACHER
    overrides = tuple(f"{key}={json.dumps(value)}" for key, value in values.items())
    return Step(
        section=_with_folders(section, folders),
        overrides=overrides,
        config=load_config(load_stage(section.run).schema, section.recipe, overrides),
    )


def _with_folders(section: StepSection, folders: Mapping[str, Path]) -> StepSection:
    if section.teacher is None:
        return section
    model = _filled(section.teacher.model, section.name, folders)
    return section.model_copy(
        update={"teacher": section.teacher.model_copy(update={"model": model})}
    )


def _filled(value: Any, name: str, folders: Mapping[str, Path]) -> Any:
    """`{step}` in a text becomes the folder of that step, at any depth."""
    if isinstance(value, Mapping):
        return {key: _filled(one, name, folders) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, name, folders) for one in value]
    if not isinstance(value, str):
        return value

    def folder(match: re.Match[str]) -> str:
        if match[1] not in folders:
            known = ", ".join(folders) or "none"
            raise ConfigError(
                f"steps.{name}: {{{match[1]}}} is no step above it; those above: {known}"
            )
        return str(folders[match[1]])

    return _PLACEHOLDER.sub(folder, value)
