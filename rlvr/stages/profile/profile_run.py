"""Run the loop of a recipe with tracing on, and fetch what all its actors recorded.

start_trace in driver and actors --> loop: warm-up steps, traced steps --> take_trace
    --> tracks, clipped to the traced steps --> trace.json, table
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from rlvr.cluster.actors import Actor
from rlvr.config.sections import TrackersSection
from rlvr.data.inputs import Inputs
from rlvr.grpo.actor_group import ActorGroup
from rlvr.grpo.generation_session import GenerationSession, run_session
from rlvr.grpo.launch import make_loop
from rlvr.grpo.run_logger import RunLogger
from rlvr.run.checkpoints import Checkpoints
from rlvr.run.console import RunConsole
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import RunFolder, write_json, write_text
from rlvr.run.trace import start_trace, take_trace
from rlvr.run.trackers import Trackers
from rlvr.stages.profile.profile_config import ProfileConfig
from rlvr.stages.profile.time_table import busy_s, span_times, table_text
from rlvr.stages.profile.trace_file import write_trace
from rlvr.stages.profile.tracks import CONTROLLER, Track, clipped, step_window

__all__ = ["run_profile", "traced"]

ResultT = TypeVar("ResultT")


def run_profile(config: ProfileConfig, folder: RunFolder, inputs: Inputs) -> None:
    """Write trace.json, profile.txt and summary.json to the folder.

    The run has neither checkpoints nor trackers; it ends after the traced steps.
    """
    shutil.rmtree(folder.checkpoints, ignore_errors=True)  # of a profile that was stopped
    with RunConsole(title=config.name, num_steps=config.end_step) as console:

        async def profile(session: GenerationSession) -> list[Track]:
            log = RunLogger(
                folder,
                console=console,
                trackers=Trackers(TrackersSection(), folder=folder.path, name=config.name),
                prompt_text=session.encoder.text,
            )
            log.start_at(None)
            checkpoints = Checkpoints(folder.checkpoints, keep=config.checkpoint.keep)
            loop = make_loop(config, inputs, session, checkpoints=checkpoints, log=log)
            try:
                return (await traced(session.actors, lambda: loop.run(until=config.end_step)))[1]
            finally:
                log.close()

        tracks = run_session(config, folder, inputs, profile, say=console.phase)
    _write(config, folder, tracks)


async def traced(
    actors: ActorGroup, work: Callable[[], Awaitable[ResultT]], *, deadline_s: float = 60.0
) -> tuple[ResultT, list[Track]]:
    """Do the work with tracing on; return its result and the tracks of controller and actors."""
    everyone = (*actors.engines, *actors.learners, *actors.graders)
    await _run_on(everyone, start_trace, deadline_s=deadline_s)
    start_trace()
    try:
        result = await work()
    finally:
        recorded = take_trace()
    taken = await _run_on(everyone, take_trace, deadline_s=deadline_s)
    tracks = [
        Track(name=actor.name, events=events) for actor, events in zip(everyone, taken, strict=True)
    ]
    return result, [Track(name=CONTROLLER, events=recorded), *tracks]


async def _run_on(
    actors: Sequence[Actor], function: Callable[[], ResultT], *, deadline_s: float
) -> list[ResultT]:
    return await asyncio.gather(*(one.run(function, deadline_s=deadline_s) for one in actors))


def _write(config: ProfileConfig, folder: RunFolder, tracks: Sequence[Track]) -> None:
    first, end = config.first_traced_step, config.end_step
    window = step_window(tracks, after=first, until=end)
    evaluations = [span for span in tracks[0].spans if span.name == "evaluate"]
    tracks = [clipped(track, window) for track in tracks]
    write_trace(folder.path / "trace.json", tracks, start_ns=window[0])
    traced_s = (window[1] - window[0]) / 1e9
    times = span_times(tracks, traced_s=traced_s)
    text = f"{_heading(folder, first=first, end=end, traced_s=traced_s)}\n\n{table_text(times)}\n"
    if evaluations:
        text += f"\nan evaluation, between steps: {busy_s(evaluations[:1]):.2f} s\n"
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
