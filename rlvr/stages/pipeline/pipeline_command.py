"""`rlvr r1` and `rlvr ablate`: print the plan and run each step in its own process.

Separate processes leave no memory, GPU or Ray state to the next step.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rlvr.config import load_config
from rlvr.errors import RLVRError
from rlvr.run.manifest import input_digests
from rlvr.run.run_folder import write_json
from rlvr.stages.pipeline.pipeline_config import AblateConfig, ChainConfig
from rlvr.stages.pipeline.pipeline_plan import Step, StepState, planned_steps, state_of

__all__ = ["plan_text", "run_ablate", "run_r1"]

STOP_S = 300.0  # a stopped stage writes a checkpoint first


def run_r1(recipe: str, overrides: Sequence[str]) -> int:
    """Run the R1 pipeline. Returns the exit status; raises RLVRError."""
    return _run_chain(load_config(ChainConfig, recipe, overrides))


def run_ablate(recipe: str, overrides: Sequence[str]) -> int:
    """Run the ablation: base, pure RL, SFT, and SFT then RL, with one evaluation for all."""
    return _run_chain(load_config(AblateConfig, recipe, overrides))


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
    write_json(step.teacher_file, {"inputs": input_digests({"teacher.model": section.model})})
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
