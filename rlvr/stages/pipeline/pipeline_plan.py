"""A chain of stages as a plan: the steps with their run folders, and the state of each.

    recipe --planned_steps--> Step (command, config, folder) --state_of--> done, stale, ...

A step is done if its run is finished, its config is the one it would have now, and no file it read
has changed since. The state is computed again right before the step would run, so a step that is
repeated with identical results leaves later steps done.
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

ADDRESS = "teacher"  # key of a distillation that differs each time the chain serves its teacher
UNKNOWN_TEACHER = {"endpoints": [{"url": "http://127.0.0.1:1/v1", "model": "teacher"}]}
_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)\}")


class StepState(StrEnum):
    """State of a step's run folder."""

    DONE = "done"
    STALE = "stale"
    INTERRUPTED = "interrupted"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage with its resolved config."""

    section: StepSection
    overrides: tuple[str, ...]
    config: StageConfig

    @property
    def name(self) -> str:
        return self.section.name

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.config.run_dir)

    @property
    def teacher_file(self) -> Path:
        """Hashes of the teacher's model, of which the step's own manifest has only the address."""
        return self.config.run_dir / "teacher.json"


def planned_steps(config: ChainConfig) -> list[Step]:
    """Return all steps, or `only` some and what they depend on, with each recipe checked.

    Raises:
        ConfigError: a wrong recipe, or a `{name}` that is not an earlier step.
    """
    folders: dict[str, Path] = {}
    steps = []
    needed = _needed(config)
    for section in config.steps:
        if section.name not in needed:
            continue
        step = _resolve(section, config, folders)
        if step.config.run_dir in folders.values():
            raise ConfigError(
                f"steps.{section.name}: the folder {step.config.run_dir} is that of another step; "
                "give set: {name: ...}"
            )
        folders[section.name] = step.config.run_dir
        steps.append(step)
    return steps


def state_of(step: Step) -> tuple[StepState, str]:
    """Return the current state of a step, and the reason in words."""
    folder, status = step.folder, step.folder.status
    if status is RunStatus.NEW:
        return StepState.MISSING, ""
    if differing := folder.differences(step.config, free=load_stage(step.section.run).free_keys):
        return StepState.STALE, differing[0]
    if folder.manifest.exists() and (changed := changed_inputs(read_json(folder.manifest))):
        return StepState.STALE, f"{changed[0]} has changed"
    if step.teacher_file.exists() and changed_inputs(read_json(step.teacher_file)):
        return StepState.STALE, "the teacher has changed"
    if status is RunStatus.INTERRUPTED:
        return StepState.INTERRUPTED, ""
    if changed := folder.differences(step.config, free=(ADDRESS,)):
        return StepState.INTERRUPTED, changed[0]  # only its last part is repeated
    return StepState.DONE, ""


def _needed(config: ChainConfig) -> set[str]:
    """Return the names in `only` and, transitively, the steps whose folders they read."""
    names = {step.name for step in config.steps}
    needed = set(config.only) or names
    for section in reversed(config.steps):
        if section.name in needed:
            text = json.dumps([section.set, section.teacher.model if section.teacher else ""])
            needed |= names & set(_PLACEHOLDER.findall(text))
    return needed


def _resolve(section: StepSection, config: ChainConfig, folders: Mapping[str, Path]) -> Step:
    filled = {key: _fill(value, section.name, folders) for key, value in section.set.items()}
    values = {"output_dir": config.output_dir, "seed": config.seed, **filled}
    if section.teacher is not None:
        values["teacher"] = UNKNOWN_TEACHER
        model = _fill(section.teacher.model, section.name, folders)
        teacher = section.teacher.model_copy(update={"model": model})
        section = section.model_copy(update={"teacher": teacher})
    overrides = tuple(f"{key}={json.dumps(value)}" for key, value in values.items())
    schema = load_stage(section.run).schema
    return Step(
        section=section,
        overrides=overrides,
        config=load_config(schema, section.recipe, overrides),
    )


def _fill(value: Any, name: str, folders: Mapping[str, Path]) -> Any:
    """Replace `{step}` by the folder of that step, in texts at any depth."""
    if isinstance(value, Mapping):
        return {key: _fill(one, name, folders) for key, one in value.items()}
    if isinstance(value, list):
        return [_fill(one, name, folders) for one in value]
    if not isinstance(value, str):
        return value

    def folder(match: re.Match[str]) -> str:
        if match[1] not in folders:
            known = ", ".join(folders) or "none"
            raise ConfigError(f"steps.{name}: {{{match[1]}}} is no earlier step; known: {known}")
        return str(folders[match[1]])

    return _PLACEHOLDER.sub(folder, value)
