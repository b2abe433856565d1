"""How busy engines and learner are, by `max_staleness`: `python -m bench.buffer`.

    the trainer's loop, buffer and pool  -->  engines and a learner that only take time
                                              (lognormal lengths, bench/simulated_engine.py)

default     in virtual time, so that the machine's load has no effect: two engines, then clusters of
            64 and 512 GPUs
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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.machine import describe_machine, load_average
from bench.sides import ROOT
from bench.simulated_engine import EngineTimes, LocalActor, SimulatedEngine
from bench.virtual_time import run_in_virtual_time
from rewards import RewardResult
from rlvr.cluster.actors import Actor
from rlvr.cluster.ray_cluster import connected
from rlvr.config.training_sections import RetentionSection
from rlvr.data.tasks import TaskStream
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.held_out_eval import Evaluation
from rlvr.grpo.loop import GrpoLoop
from rlvr.grpo.rollouts import RolloutCollector
from rlvr.rollout.engine_pool import EnginePool
from rlvr.run.checkpoints import Checkpoints
from rlvr.types import Batch, Group, StepReport, Task, Ungraded
from rlvr.weight_sync.sync import SyncReport

__all__ = ["Cluster", "Usage", "main", "measure"]

ResultT = TypeVar("ResultT")

STALENESS = (0, 1, 2, 4)
WARM_UP_STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Engines, a learner and the work of a step."""

    name: str
    num_engines: int
    times: EngineTimes
    learn_s: float
    tasks_per_step: int
    group_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Means of the measured steps."""

    step_s: float
    engine_idle_frac: float  # without any completion
    slots_idle_frac: float  # slots without a completion, also in engines that have some
    learner_idle_frac: float
    staleness: float  # of a token, in steps
    samples_per_s: float


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


@dataclass(slots=True)
class _Learner:
    """Takes `learn_s` for a step."""

    learn_s: float
    busy_s: float = 0.0

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        await asyncio.sleep(self.learn_s)
        self.busy_s += self.learn_s
        zeros = dict.fromkeys(
            ("loss", "grad_norm", "entropy", "clip_frac", "kl", "mismatch_kl"), 0.0
        )
        return StepReport(
            **zeros,
            max_ratio_error=0.0,
            num_loss_tokens=batch.num_loss_tokens,
            num_tokens=batch.num_loss_tokens,
            num_computed_tokens=batch.num_loss_tokens,
            learn_s=self.learn_s,
        )

    async def replace_reference(self) -> None:
        raise AssertionError("there is none")

    async def save_checkpoint(self, folder: str) -> None:
        pass

    async def load_checkpoint(self, folder: str) -> None:
        raise AssertionError("no run is resumed")


class _Graders:
    """Every second completion is right."""

    async def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        return [RewardResult(value=float(i % 2), grades={}) for i in range(len(ungraded.texts))]


class _Encoder:
    """Every prompt is one token."""

    think_prefilled = False

    def encode(self, task: Task) -> NDArray[np.int32]:
        return np.array([1], np.int32)

    def text(self, task: Task) -> str:
        return ""

    def completion_ids(self, text: str) -> NDArray[np.int32]:
        return np.zeros(0, np.int32)


class _Tasks:
    """An endless source."""

    name = "numbers"
    num_tasks = None

    def task(self, index: int) -> Task:
        return Task(id=str(index), prompt="")


@dataclass(slots=True)
class _Log:
    """Keeps the metrics, and the time of each step."""

    ended_at: list[float] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    on_step: Callable[[int], None] = lambda step: None

    def step(self, metrics: dict[str, Any], groups: Sequence[Group]) -> None:
        self.ended_at.append(asyncio.get_running_loop().time())
        self.metrics.append(metrics)
        self.on_step(len(self.metrics))

    def evaluation(self, evaluation: Evaluation, groups: Sequence[Group]) -> None:
        raise AssertionError("nothing is evaluated")

    def phase(self, text: str) -> None:
        pass

    def settle(self) -> None:
        pass

    def broken_batch(self, batch: Batch, step: int) -> Path:
        raise AssertionError("losses are finite")


def _config(cluster: Cluster, folder: Path, *, max_staleness: int, num_steps: int) -> GrpoConfig:
    return GrpoConfig.model_validate(
        {
            "name": "bench",
            "output_dir": str(folder),
            "num_steps": num_steps,
            "model": {"path": "none"},
            "tasks": {"source": "toy"},
            "rewards": {"accuracy": 1.0},
            "rollout": {
                "tasks_per_step": cluster.tasks_per_step,
                "group_size": cluster.group_size,
                "max_staleness": max_staleness,
                "max_tokens": cluster.times.max_tokens,
                "max_concurrent": cluster.times.slots,
                "num_engines": cluster.num_engines,
            },
            "learner": {"token_budget": 1 << 30},
            "checkpoint": {"every_steps": num_steps},
        }
    )


async def measure(
    cluster: Cluster, actors: Sequence[Any], *, max_staleness: int, num_steps: int
) -> Usage:
    """Run the trainer's loop over these engines; return the means without its first and last steps.

    At the end of a run the engines have nothing left to do.
    """
    learner, log = _Learner(cluster.learn_s), _Log()
    first, last = WARM_UP_STEPS, WARM_UP_STEPS + num_steps
    snapshots: list[asyncio.Task[_Snapshot]] = []

    def note(step: int) -> None:
        if step in (first, last):
            snapshots.append(asyncio.ensure_future(_snapshot(actors, learner)))

    log.on_step = note
    with tempfile.TemporaryDirectory(prefix="bench-buffer-") as folder:
        total_steps = last + max_staleness + 2
        config = _config(cluster, Path(folder), max_staleness=max_staleness, num_steps=total_steps)
        await _loop(config, actors, learner, log, Path(folder)).run()
    begin, end = [await snapshot for snapshot in snapshots]
    wall_s, num_engines = end.at_s - begin.at_s, len(actors)
    return Usage(
        step_s=wall_s / num_steps,
        engine_idle_frac=end.idle_s / (num_engines * wall_s),
        slots_idle_frac=1 - end.slot_s / (num_engines * cluster.times.slots * wall_s),
        learner_idle_frac=1 - (end.learn_s - begin.learn_s) / wall_s,
        staleness=float(np.mean([one["policy/staleness_mean"] for one in log.metrics[first:last]])),
        samples_per_s=cluster.tasks_per_step * cluster.group_size * num_steps / wall_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """The clock, and the engines' times since the snapshot before."""

    at_s: float
    learn_s: float
    slot_s: float
    idle_s: float


async def _snapshot(actors: Sequence[Any], learner: _Learner) -> _Snapshot:
    at_s = asyncio.get_running_loop().time()
    usages = await asyncio.gather(*(one.call("take_usage", deadline_s=60) for one in actors))
    slot_s, idle_s = (sum(column) for column in zip(*usages, strict=True))
    return _Snapshot(at_s=at_s, learn_s=learner.busy_s, slot_s=slot_s, idle_s=idle_s)


def _loop(
    config: GrpoConfig, actors: Sequence[Any], learner: _Learner, log: _Log, folder: Path
) -> GrpoLoop:
    is_continuous = config.rollout.max_staleness > 0
    pool = EnginePool(
        actors,
        deadline_s=1e9,
        max_concurrent=config.rollout.max_concurrent if is_continuous else None,
    )

    async def sync(policy_version: int) -> SyncReport:
        await pool.load_weights(policy_version)
        return SyncReport(sync_s=0.0, probe_error=0.0)

    return GrpoLoop(
        config=config,
        collector=RolloutCollector(
            engines=pool,
            graders=_Graders(),
            encoder=_Encoder(),
            seed=0,
            has_mixed_versions=is_continuous,
        ),
        learner=learner,
        sync_weights=sync,
        engines=pool,
        tasks=TaskStream(_Tasks(), seed=0),
        eval_tasks=(),
        stop_token_ids=(),
        checkpoints=Checkpoints(folder / "checkpoints", keep=RetentionSection()),
        log=log,
        stop=asyncio.Event(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print tables; return the exit status."""
    options = _parser().parse_args(arguments)
    print(f"{describe_machine()}, load average {load_average()}")
    if options.samples:
        print(_samples_table(_on_ray(_samples_per_s)))
        return 0
    for cluster in CLUSTERS[: 1 if options.real else options.clusters]:
        found = {}
        for max_staleness in STALENESS:
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
    lines = [
        f"\n{cluster.name}: {cluster.tasks_per_step} x {cluster.group_size} completions in a step, "
        f"{cluster.num_engines} engines of {cluster.times.slots} slots, learner "
        f"{cluster.learn_s:.1f} s\n",
        "| max_staleness | step, s | relative to 0 | engines idle | slots idle | learner idle "
        "| staleness of a token |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {k} | {one.step_s:.2f} | {found[0].step_s / one.step_s:.2f} "
        f"| {one.engine_idle_frac:.1%} | {one.slots_idle_frac:.1%} | {one.learner_idle_frac:.1%} "
        f"| {one.staleness:.2f} |"
        for k, one in found.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
