"""Run the loop of a recipe with tracing on, and write what all its actors recorded.

start_traces --> loop: warm-up steps, traced steps --> take_traces
    --> tracks, clipped to the traced steps --> trace.json, profile.txt
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import Any

from rlvr.config.training_sections import TrackersSection
from rlvr.data.inputs import Inputs, hold_inputs
from rlvr.grpo.generation_session import GenerationSession, run_session
from rlvr.grpo.launch import make_loop
from rlvr.grpo.run_logger import RunLogger
from rlvr.run.checkpoints import Checkpoints
from rlvr.run.console import RunConsole
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import RunFolder, write_json, write_text
from rlvr.run.trackers import Trackers
from rlvr.stages.profile.actor_traces import Recorded, start_traces, take_traces
from rlvr.stages.profile.profile_config import ProfileConfig
from rlvr.stages.profile.time_table import busy_s, span_times, table_text
from rlvr.stages.profile.torch_ops import ops_text
from rlvr.stages.profile.trace_file import write_trace
from rlvr.stages.profile.tracks import clipped, step_window

__all__ = ["run_profile"]


def run_profile(config: ProfileConfig, folder: RunFolder, inputs: Inputs) -> None:
    """Write trace.json, profile.txt and summary.json to the folder.

    The run has neither checkpoints nor trackers; it ends after the traced steps.
    """
    shutil.rmtree(folder.checkpoints, ignore_errors=True)  # of a profile that was stopped
    run = config.resolved(inputs.tasks.num_tasks)
    inputs = hold_inputs(run, inputs)
    with RunConsole(title=config.name, num_steps=config.end_step) as console:

        async def profile(session: GenerationSession) -> Recorded:
            log = RunLogger(
                folder,
                console=console,
                trackers=Trackers(TrackersSection(), folder=folder.path, name=config.name),
                prompt_text=session.encoder.text,
            )
            log.start_at(None)
            checkpoints = Checkpoints(folder.checkpoints, keep=config.checkpoint.keep)
            loop = make_loop(run, inputs, session, checkpoints=checkpoints, log=log)
            torch_trace = folder.path / "torch_learner_0.json" if config.profile.torch else None
            await start_traces(session.actors, with_torch=config.profile.torch)
            try:
                await loop.run(until=config.end_step)
            finally:
                log.close()
            return await take_traces(session.actors, torch_trace=torch_trace)

        recorded = run_session(
            run, folder, inputs, profile, say=console.phase, note=console.print_line
        )
    _write(config, folder, recorded)


def _write(config: ProfileConfig, folder: RunFolder, recorded: Recorded) -> None:
    first, end, tracks = config.first_traced_step, config.end_step, recorded.tracks
    window = step_window(tracks, after=first, until=end)
    evaluations = [span for span in tracks[0].spans if span.name == "evaluate"]
    tracks = [clipped(track, window) for track in tracks]
    write_trace(folder.path / "trace.json", tracks, start_ns=window[0])
    traced_s = (window[1] - window[0]) / 1e9
    times = span_times(tracks, traced_s=traced_s)
    text = f"{_heading(folder, first=first, end=end, traced_s=traced_s)}\n\n{table_text(times)}\n"
    if evaluations:
        text += f"\nan evaluation, between steps: {busy_s(evaluations[:1]):.2f} s\n"
    if recorded.torch_ops:
        text += "\nlearner_0, operations of torch in all steps, without those they call:\n"
        text += f"{ops_text(recorded.torch_ops)}\n"
    write_text(folder.path / "profile.txt", text)
    summary = {"first_step": first + 1, "last_step": end, "traced_s": traced_s}
    write_json(folder.summary, {**summary, "times": [asdict(time) for time in times]})


def _heading(folder: RunFolder, *, first: int, end: int, traced_s: float) -> str:
    lines: list[dict[str, Any]] = [
        line for line in MetricsFile(folder.metrics).lines() if first < line["step"] <= end
    ]
    num_tokens = sum(line.get("tokens/completion", 0) for line in lines)
    steps = f"step {end}" if end == first + 1 else f"steps {first + 1} to {end}"
    return f"{steps}: {traced_s:.2f} s, {num_tokens:,} completion tokens"
