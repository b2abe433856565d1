"""A run of the trainer's loop over engines and a learner that only take time.

tasks -> buffer -> pool -> simulated engines -> graders that say yes or no -> learner that sleeps
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.simulated_engine import EngineTimes
from rewards import RewardResult
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

__all__ = ["Cluster", "Usage", "measure"]

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


@dataclass(slots=True)
class _Learner:
    """Takes `learn_s` for a step."""

    learn_s: float
    busy_s: float = 0.0

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        await asyncio.sleep(self.learn_s)
        self.busy_s += self.learn_s
        zeros = dict.fromkeys((one.name for one in fields(StepReport)), 0)
        return StepReport(**zeros | {"num_loss_tokens": batch.num_loss_tokens})

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

    def warn(self, text: str) -> None:
        raise AssertionError(text)

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
