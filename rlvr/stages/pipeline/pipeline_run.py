"""Running a chain: each step in a process of its own, so that none leaves anything to the next."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rlvr.errors import RLVRError
from rlvr.run.manifest import input_digests
from rlvr.run.run_folder import write_json
from rlvr.stages.pipeline.pipeline_plan import Step, StepState, state_of

__all__ = ["StepFailed", "plan_text", "run_steps"]

STOP_S = 300.0  # a stage that is asked to stop writes a checkpoint first


class StepFailed(RLVRError):
    """A step ended with another status than 0; it has said why itself."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(name, status)
        self.name, self.exit_status = name, status

    def __str__(self) -> str:
        return (
            f"step {self.name} ended with status {self.exit_status}; the same command goes on there"
        )


def plan_text(steps: Sequence[Step]) -> str:
    """A line for each step: its state, its command and folder, what it is to show."""
    width = max(len(step.name) for step in steps)
    lines = []
    is_next = True
    for step in steps:
        state, why = state_of(step)
        mark = str(state)
        if state is not StepState.DONE and is_next:
            mark, is_next = f"{state}, next", False
        note = f" ({why})" if why else f"  {step.section.shows}" if step.section.shows else ""
        lines.append(
            f"{step.name:<{width}}  {mark:<17}  {step.section.run:<8} {step.config.run_dir}{note}"
        )
    return "\n".join(lines)


def run_steps(steps: Sequence[Step]) -> dict[str, float]:
    """Do what is not done, in order; returns the seconds of each step that was run.

    Raises:
        StepFailed: a step ended with another status than 0.
    """
    seconds: dict[str, float] = {}
    for i, step in enumerate(steps, start=1):
        state, why = state_of(step)
        if state is StepState.DONE:
            continue
        if state is StepState.STALE:
            _put_aside(step, why)
        print(f"\n=== {i} of {len(steps)}: {step.name} ({step.section.run}) ===", flush=True)
        started = time.monotonic()
        with _teacher(step) as overrides:
            status = _run(step, overrides)
        if status:
            raise StepFailed(step.name, status)
        seconds[step.name] = time.monotonic() - started
        print(f"=== {step.name}: {seconds[step.name]:.0f} s ===", flush=True)
    return seconds


def _put_aside(step: Step, why: str) -> None:
    """A stale folder is kept under another name: it may have cost days."""
    path = step.config.run_dir
    names = (path.with_name(f"{path.name}.stale-{n}") for n in range(1, 1000))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    print(f"{path} is stale ({why}); it is now {aside}", flush=True)


@contextmanager
def _teacher(step: Step) -> Iterator[tuple[str, ...]]:
    """The step's overrides, with the address of its teacher while that is up."""
    section = step.section.teacher
    if section is None:
        yield step.overrides
        return
    from rlvr.serving import served

    step.config.run_dir.mkdir(parents=True, exist_ok=True)
    write_json(step.taught_by, {"inputs": input_digests({"teacher.model": section.model})})
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


def _run(step: Step, overrides: Sequence[str]) -> int:
    """The step's exit status; a signal for the chain is one for the step."""
    command = [sys.executable, "-m", "rlvr", step.section.run, step.section.recipe, *overrides]
    before = signal.getsignal(signal.SIGTERM)
    process = subprocess.Popen(command)

    def stop(*_: Any) -> None:
        process.terminate()

    signal.signal(signal.SIGTERM, stop)
    try:
        return process.wait()
    except KeyboardInterrupt:  # the step has got it too, from the terminal
        process.wait(timeout=STOP_S)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        if process.poll() is None:
            process.kill()
            process.wait()
