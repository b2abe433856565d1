"""Turn tracing on in the driver and in all actors of a run, and fetch what they recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rlvr.cluster.actors import Actor
from rlvr.grpo.actor_group import ActorGroup
from rlvr.run.trace import start_trace, take_trace
from rlvr.stages.profile.torch_ops import (
    OpTime,
    start_gpu_trace,
    start_torch_profiler,
    take_torch_ops,
)
from rlvr.stages.profile.tracks import CONTROLLER, Track

__all__ = ["Recorded", "start_traces", "take_traces"]

DEADLINE_S = 120.0  # of one call of an actor
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The tracks of controller, engines, learner ranks and reward workers."""

    tracks: Sequence[Track]
    torch_ops: Sequence[OpTime] = ()  # of the first learner rank


async def start_traces(actors: ActorGroup, *, with_torch: bool = False) -> None:
    """Record from now on; `with_torch`, PyTorch's profiler too, in the first learner rank."""
    await asyncio.gather(
        _run_on((*actors.engines, *actors.graders), start_trace),
        _run_on(actors.learners, start_gpu_trace),
    )
    if with_torch:
        await _run_on(actors.learners[:1], start_torch_profiler)
    start_trace()


async def take_traces(actors: ActorGroup, *, torch_trace: Path | None = None) -> Recorded:
    """Stop and return what was recorded; `torch_trace`: the file of PyTorch's profiler, if on."""
    recorded = take_trace()
    everyone = (*actors.engines, *actors.learners, *actors.graders)
    taken = await _run_on(everyone, take_trace)
    tracks = [Track(name=CONTROLLER, events=recorded)]
    tracks += [
        Track(name=actor.name, events=events) for actor, events in zip(everyone, taken, strict=True)
    ]
    if torch_trace is None:
        return Recorded(tracks=tracks)
    (ops,) = await _run_on(actors.learners[:1], take_torch_ops, str(torch_trace.resolve()))
    return Recorded(tracks=tracks, torch_ops=ops)


async def _run_on(
    actors: Sequence[Actor], function: Callable[..., ResultT], *args: Any
) -> list[ResultT]:
    calls = (one.run(function, *args, deadline_s=DEADLINE_S) for one in actors)
    return await asyncio.gather(*calls)
