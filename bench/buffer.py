"""Load of engines and learner by `max_staleness`: `python -m bench.buffer`.

default     in virtual time, so that the machine's load has no effect: two engines, then clusters of
            64 and 512 GPUs (bench/simulated_run.py)
--real      the engines are Ray actors and the clock is the real one
--samples   samples per second through the controller, with engines that take no time
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bench.machine import describe_machine, load_average
from bench.sides import ROOT
from bench.simulated_engine import EngineTimes, LocalActor, SimulatedEngine
from bench.simulated_run import Cluster, Usage, measure
from bench.virtual_time import run_in_virtual_time
from rlvr.cluster.actors import Actor
from rlvr.cluster.ray_cluster import connected

__all__ = ["main"]

ResultT = TypeVar("ResultT")

# A step's 512 completions fill the slots of both engines twice; the longest is four times the mean.
TWO_ENGINES = Cluster(
    name="two engines",
    num_engines=2,
    times=EngineTimes(slots=128, token_s=0.02, mean_tokens=100, max_tokens=400, load_s=0.1),
    learn_s=3.5,
    tasks_per_step=64,
    group_size=8,
)
# A 7B policy on H100s: 25 ms for a decode step of 128 sequences, completions of 4,000 tokens in the
# mean and 16,000 at most; 8,192 of them are trained at 400 TFLOP/s a GPU, 6 operations a parameter
# and token. Lengths are counted in blocks of 40 tokens, which makes the simulation faster.
BLOCK = 40


def _cluster(num_gpus: int, *, num_engines: int) -> Cluster:
    num_completions, mean_tokens = 8192 * num_gpus // 64, 4000
    flops = 6 * 7e9 * mean_tokens * num_completions
    times = EngineTimes(
        slots=128,
        token_s=0.025 * BLOCK,
        mean_tokens=mean_tokens / BLOCK,
        max_tokens=16_000 // BLOCK,
        load_s=2.0,
    )
    return Cluster(
        name=f"{num_gpus} GPUs, {num_engines} of them engines",
        num_engines=num_engines,
        times=times,
        learn_s=flops / (400e12 * (num_gpus - num_engines)),
        tasks_per_step=num_completions // 16,
        group_size=16,
    )


CLUSTERS = (TWO_ENGINES, _cluster(64, num_engines=32), _cluster(512, num_engines=256))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print tables; return the exit status."""
    options = _parser().parse_args(arguments)
    print(f"{describe_machine()}, load average {load_average()}")
    if options.samples:
        print(_samples_table(_on_ray(_samples_per_s)))
        return 0
    for cluster in CLUSTERS[: 1 if options.real else options.clusters]:
        found = {}
        for max_staleness in map(int, options.staleness.split(",")):
            if options.real:
                work = partial(_measure_on_ray, cluster, max_staleness, options.steps)
                found[max_staleness] = _on_ray(work)
            else:
                found[max_staleness] = run_in_virtual_time(
                    _measure_here(cluster, max_staleness, options.steps)
                )
        print(_table(cluster, found), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.buffer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=20, help="measured steps")
    parser.add_argument("--clusters", type=int, default=3, help="how many of the three to simulate")
    parser.add_argument("--staleness", default="0,1,2,4", help="values of max_staleness")
    parser.add_argument("--real", action="store_true", help="Ray actors and the real clock")
    parser.add_argument("--samples", action="store_true", help="samples/s through the controller")
    return parser


async def _measure_here(cluster: Cluster, max_staleness: int, num_steps: int) -> Usage:
    engines = [SimulatedEngine(cluster.times) for _ in range(cluster.num_engines)]
    actors = [LocalActor(f"engine_{i}", engine) for i, engine in enumerate(engines)]
    return await measure(cluster, actors, max_staleness=max_staleness, num_steps=num_steps)


async def _measure_on_ray(cluster: Cluster, max_staleness: int, num_steps: int) -> Usage:
    actors = await _start_on_ray(cluster.times, cluster.num_engines)
    return await measure(cluster, actors, max_staleness=max_staleness, num_steps=num_steps)


async def _start_on_ray(times: EngineTimes, num_engines: int) -> list[Actor]:
    import ray

    cls = ray.remote(SimulatedEngine)
    handles = [cls.options(num_cpus=0).remote(times) for _ in range(num_engines)]
    actors = [
        Actor(name=f"engine_{i}", handle=handle, log_path="") for i, handle in enumerate(handles)
    ]
    await asyncio.gather(*(actor.call("ready", deadline_s=120) for actor in actors))
    return actors


def _on_ray(work: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
    os.environ["PYTHONPATH"] = str(ROOT)  # the actors import bench
    with (
        tempfile.TemporaryDirectory(prefix="bench-buffer-") as folder,
        connected(logs=Path(folder), num_cpus=2, weights_bytes=1 << 20),
    ):
        return asyncio.run(work())


async def _samples_per_s() -> Usage:
    """Engines and a learner that take no time: what the controller costs."""
    times = EngineTimes(slots=1024, token_s=0.0, mean_tokens=100, sigma=0.5)
    cluster = Cluster(
        name="no work",
        num_engines=2,
        times=times,
        learn_s=0.0,
        tasks_per_step=256,
        group_size=16,
    )
    actors = await _start_on_ray(times, cluster.num_engines)
    return await measure(cluster, actors, max_staleness=2, num_steps=5)


def _samples_table(found: Usage) -> str:
    return f"{found.samples_per_s:,.0f} samples/s through the controller"


def _table(cluster: Cluster, found: Mapping[int, Usage]) -> str:
    least, first = next(iter(found.items()))
    lines = [
        f"\n{cluster.name}: {cluster.tasks_per_step} x {cluster.group_size} completions in a step, "
        f"{cluster.num_engines} engines of {cluster.times.slots} slots, learner "
        f"{cluster.learn_s:.1f} s\n",
        f"| max_staleness | step, s | relative to {least} | engines idle | slots idle "
        "| learner idle | staleness of a token |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {k} | {one.step_s:.2f} | {first.step_s / one.step_s:.2f} "
        f"| {one.engine_idle_frac:.1%} | {one.slots_idle_frac:.1%} | {one.learner_idle_frac:.1%} "
        f"| {one.staleness:.2f} |"
        for k, one in found.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
