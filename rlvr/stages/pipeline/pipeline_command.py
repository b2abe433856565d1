"""`rlvr r1` and `rlvr ablate`: chains of stages, run as one plan that resumes.

    recipe --planned_steps--> Step (command, config, folder) --state_of--> done, stale, ...

A step is done if its run is finished, its config is the one it would have now, and no file it read
has changed since. The state is computed again right before the step would run, so a step that is
repeated with identical results leaves later steps done. Each step runs in its own process, which
leaves no memory, GPU or Ray state to the next one.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rlvr.config import StageConfig, load_config
from rlvr.config.changes import Effect
from rlvr.data.model_files import resolve_model
from rlvr.errors import ConfigError, RLVRError
from rlvr.run.manifest import changed_inputs, input_digests
from rlvr.run.run_folder import RunFolder, RunStatus, read_json, write_json
from rlvr.run.stage_protocol import load_stage
from rlvr.stages.pipeline.pipeline_config import AblateConfig, ChainConfig, StepSection

__all__ = ["Step", "StepState", "plan_text", "planned_steps", "run_ablate", "run_r1", "state_of"]

STOP_S = 300.0  # a stopped stage writes a checkpoint first
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


def run_r1(recipe: str, overrides: Sequence[str]) -> int:
    """Run the R1 pipeline. Returns the exit status; raises RLVRError."""
    return _run_chain(load_config(ChainConfig, recipe, overrides))


def run_ablate(recipe: str, overrides: Sequence[str]) -> int:
    """Run the ablation: base, pure RL, SFT, and SFT then RL, with one evaluation for all."""
    return _run_chain(load_config(AblateConfig, recipe, overrides))


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
    changes = [one for one in folder.changes(step.config) if one.effect is not Effect.NEUTRAL]
    # of a stage that trains, a change would apply to its later steps only
    trains = load_stage(step.section.run).trained is not None
    if stale := [one for one in changes if trains or one.effect is Effect.FIXED]:
        return StepState.STALE, str(stale[0])
    if folder.manifest.exists() and (changed := changed_inputs(read_json(folder.manifest))):
        return StepState.STALE, f"{changed[0]} has changed"
    if step.teacher_file.exists() and changed_inputs(read_json(step.teacher_file)):
        return StepState.STALE, "the teacher has changed"
    if status is RunStatus.INTERRUPTED:
        return StepState.INTERRUPTED, ""
    if changes:
        return StepState.INTERRUPTED, str(changes[0])  # only its last part is repeated
    return StepState.DONE, ""


def plan_text(steps: Sequence[Step]) -> str:
    """Return a line per step: state, command, folder and purpose."""
    width = max(len(step.name) for step in steps)
    lines = []
    is_next = True
    for step in steps:
        section, (state, why) = step.section, state_of(step)
        mark = str(state)
        if state is not StepState.DONE and is_next:
            mark, is_next = f"{state}, next", False
        note = f" ({why})" if why else f"  {section.shows}" if section.shows else ""
        lines.append(
            f"{step.name:<{width}}  {mark:<17}  {section.run:<8} {step.config.run_dir}{note}"
        )
    return "\n".join(lines)


def _run_chain(config: ChainConfig) -> int:
    """Run the steps that are not done. Raises RLVRError with the exit status of a failed step."""
    steps = planned_steps(config)
    print(plan_text(steps), flush=True)
    if config.plan_only:
        return 0
    seconds = []
    for i, step in enumerate(steps, start=1):
        state, why = state_of(step)
        if state is StepState.DONE:
            continue
        if state is StepState.STALE:
            _rename_stale(step, why)
        print(f"\n=== {i} of {len(steps)}: {step.name} ({step.section.run}) ===", flush=True)
        started = time.monotonic()
        with _teacher(step) as overrides:
            status = _run_step(step, overrides)
        if status:
            error = RLVRError(
                f"step {step.name} ended with status {status}; the same command resumes with it"
            )
            error.exit_status = status
            raise error
        seconds.append(time.monotonic() - started)
        print(f"=== {step.name}: {seconds[-1]:.0f} s ===", flush=True)
    total = f"{sum(seconds):.0f} s for {len(seconds)} of them"
    print(f"\n{config.name}: all {len(steps)} steps are done; {total}")
    return 0


def _rename_stale(step: Step, why: str) -> None:
    """Keep a stale folder under another name: it may have cost days."""
    path = step.config.run_dir
    names = (path.with_name(f"{path.name}.stale-{n}") for n in range(1, 1000))
    new_path = next(name for name in names if not name.exists())
    path.rename(new_path)
    print(f"{path} is stale ({why}); it is now {new_path}", flush=True)


@contextmanager
def _teacher(step: Step) -> Iterator[tuple[str, ...]]:
    """Serve the step's teacher, if any, and yield the overrides with its address."""
    section = step.section.teacher
    if section is None:
        yield step.overrides
        return
    from rlvr.serving import served

    step.config.run_dir.mkdir(parents=True, exist_ok=True)
    write_json(
        step.teacher_file,
        {"inputs": input_digests({"teacher.model": resolve_model(section.model)})},
    )
    log = step.config.run_dir.with_name(f"{step.config.run_dir.name}-teacher.log")
    with served(
        section.model,
        template=section.prompt.template,
        system=section.prompt.system,
        prefill=section.prompt.prefill,
        dtype=section.dtype,
        max_model_tokens=section.max_model_tokens,
        log=log,
    ) as url:
        teacher = {"endpoints": [{"url": url, "model": "model"}]}
        others = tuple(o for o in step.overrides if not o.startswith("teacher="))
        yield (*others, f"teacher={json.dumps(teacher)}")


def _run_step(step: Step, overrides: Sequence[str]) -> int:
    """Return the step's exit status; SIGTERM is passed on to the step."""
    command = [sys.executable, "-m", "rlvr", step.section.run, step.section.recipe, *overrides]
    before = signal.getsignal(signal.SIGTERM)
    process = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:  # the terminal has sent it to the step too
        process.wait(timeout=STOP_S)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        if process.poll() is None:
            process.kill()
            process.wait()


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
