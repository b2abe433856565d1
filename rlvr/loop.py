"""The training loop: harvest, advantages, packing, learner step, weight sync; again.

    step t      harvest t -> advantages, packing -> learner step -> sync -> evaluate, log, save
    step t + 1                                      harvest t + 1 (max_staleness: 1) ...

One asyncio controller that holds no tensor. A sync waits for the harvests that run, so a completion
is written by one policy version. The cursor that a checkpoint keeps is that of the batch that was
trained, not of one that was fetched ahead, so that a killed run trains every task once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from rlvr.advantages import assign_advantages
from rlvr.checkpoints import Checkpoints
from rlvr.config import GrpoConfig
from rlvr.errors import GateError, Stopped
from rlvr.evaluate import Evaluation, summarize
from rlvr.gates import SignalGate, check_first_step, check_graded, check_mismatch
from rlvr.harvest import Harvest, Harvester
from rlvr.metrics import StepTimes, step_metrics
from rlvr.packing import pack
from rlvr.rollout.requests import SamplingSpec
from rlvr.stopping import unless_stopped
from rlvr.tasks import TaskStream
from rlvr.types import Batch, Group, StepReport, Task, TrainState
from rlvr.weight_sync.sync import SyncReport

__all__ = ["GrpoLoop", "Learner", "Log"]

logger = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")


class Learner(Protocol):
    """What changes the weights."""

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        """One optimizer step; GateError where loss or gradient is not finite."""
        ...

    async def replace_reference(self) -> None:
        """The policy becomes the reference."""
        ...

    async def save_checkpoint(self, folder: str) -> None:
        """Write weights and optimizer."""
        ...

    async def load_checkpoint(self, folder: str) -> None:
        """Read them."""
        ...


class Log(Protocol):
    """What keeps and shows the course of a run."""

    def step(self, metrics: dict[str, Any], groups: Sequence[Group]) -> None:
        """A step is done."""
        ...

    def evaluation(self, evaluation: Evaluation, groups: Sequence[Group]) -> None:
        """An evaluation is done."""
        ...

    def phase(self, text: str) -> None:
        """What happens now, where it takes long."""
        ...

    def settle(self) -> None:
        """Return once everything is on disk."""
        ...

    def broken_batch(self, batch: Batch, step: int) -> Path:
        """Keep a batch whose loss or gradient was not finite; returns where."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _InFlight:
    """A harvest under way, with what it started from."""

    harvest: asyncio.Task[Harvest]
    cursor: int  # after its tasks


class _Clock:
    """Seconds of a step by what they were spent on."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._spent: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time spent inside to `name`."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._spent[name] += time.monotonic() - started

    def times(self) -> StepTimes:
        """Until now."""
        return StepTimes(step_s=time.monotonic() - self._started, **self._spent)


@dataclass(slots=True, kw_only=True)
class GrpoLoop:
    """Everything a run needs, put together by launch."""

    config: GrpoConfig
    harvester: Harvester
    learner: Learner
    sync_weights: Callable[[int], Awaitable[SyncReport]]
    tasks: TaskStream
    eval_tasks: Sequence[Task]
    stop_token_ids: tuple[int, ...]
    checkpoints: Checkpoints
    log: Log
    stop: asyncio.Event
    state: TrainState = field(default_factory=TrainState)
    _signal: SignalGate = field(init=False)
    _is_first_checked: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._signal = SignalGate(self.config.gates.max_no_signal_steps)

    @property
    def _advantage_scale(self) -> Literal["std", "none"]:
        return "none" if self.config.loss.name == "dr_grpo" else "std"

    async def run(self) -> TrainState:
        """Train from the latest checkpoint to the last step.

        Raises:
            Stopped: `stop` was set; a checkpoint of the last whole step is written.
            GateError: a self-check failed.
        """
        in_flight: deque[_InFlight] = deque()
        try:
            await self._restore()
            await self._unless_stopped(self.sync_weights(self.state.step))
            if self.state.step == 0 or self._is_due(self.config.eval.every_steps):
                await self._evaluate()  # also what a kill may have cut short
            while self.state.step < self.config.num_steps:
                await self._step(in_flight)
                if self.stop.is_set():
                    raise Stopped(self.state.step)
                if self._is_due(self.config.checkpoint.every_steps):
                    await self._save()
                if self._is_due(self.config.eval.every_steps):
                    await self._evaluate()
        except Stopped:
            await self._abandon(in_flight)
            if self.state.step > 0:
                await self._save()
            raise
        finally:
            await self._abandon(in_flight)
        return self.state

    async def _step(self, in_flight: deque[_InFlight]) -> None:
        """One optimizer step, from tasks to weights in the engines."""
        clock = _Clock()
        self._start_harvests(in_flight)
        with clock.measure("harvest_wait_s"):
            harvest, cursor = await self._next_harvest(in_flight)
        check_graded(harvest.groups, limit_frac=self.config.gates.max_ungraded_frac)
        self._signal.check(harvest.groups)
        groups = assign_advantages(harvest.groups, scale=self._advantage_scale)
        batch = self._pack(groups)
        with clock.measure("learn_s"):
            report = await self._learn(batch)  # the next harvest runs meanwhile
        staleness = self._check(harvest, report)
        await self._reference_is_due()
        self.state = self.state.after(cursor=cursor, num_tokens=harvest.num_tokens)
        probe_error = await self._publish(in_flight, clock)
        metrics = step_metrics(
            replace(harvest, groups=tuple(groups)),
            report,
            clock.times(),
            step=self.state.step,
            staleness=staleness,
            probe_error=probe_error,
        )
        self.log.step(metrics, groups)

    async def _restore(self) -> None:
        found = self.checkpoints.latest()
        if found is not None:
            folder, self.state = found
            await self._unless_stopped(self.learner.load_checkpoint(str(folder.resolve())))
        self.tasks.seek(self.state.cursor)

    def _unless_stopped(self, work: Awaitable[ResultT]) -> Awaitable[ResultT]:
        return unless_stopped(work, self.stop, step=self.state.step)

    def _start_harvests(self, in_flight: deque[_InFlight]) -> None:
        rollout = self.config.rollout
        while len(in_flight) <= rollout.max_staleness and (
            self.state.step + len(in_flight) < self.config.num_steps
        ):
            cursor = self.tasks.cursor
            harvest = self.harvester.harvest(
                self.tasks.take(rollout.tasks_per_step),
                group_size=rollout.group_size,
                sampling=self._sampling(rollout.temperature),
                policy_version=self.state.step,
                seed_parts=("train", cursor),
            )
            in_flight.append(
                _InFlight(harvest=asyncio.create_task(harvest), cursor=self.tasks.cursor)
            )

    async def _next_harvest(self, in_flight: deque[_InFlight]) -> tuple[Harvest, int]:
        first = in_flight[0]
        harvest = await self._unless_stopped(first.harvest)
        in_flight.popleft()
        return harvest, first.cursor

    def _pack(self, groups: Sequence[Group]) -> Batch:
        config = self.config
        return pack(
            groups,
            loss=config.loss.name,
            max_tokens=config.rollout.max_tokens,
            token_budget=config.learner.token_budget,
            num_ranks=config.learner.num_ranks,
            skip_no_signal=config.loss.beta == 0,  # their gradient is exactly zero
        )

    async def _learn(self, batch: Batch) -> StepReport:
        try:
            return await self.learner.step(batch, step=self.state.step)
        except GateError as error:
            path = self.log.broken_batch(batch, self.state.step + 1)
            raise GateError(f"{error}; the batch is kept in {path}") from error

    def _check(self, harvest: Harvest, report: StepReport) -> int:
        """The gates of a step; returns its staleness."""
        config = self.config
        versions = [r.completion.policy_version for g in harvest.groups for r in g.rollouts]
        staleness = self.state.step - min(versions)
        check_mismatch(report, gates=config.gates, staleness=staleness)
        limit = config.gates.max_first_ratio_error
        if not self._is_first_checked and staleness == 0 and report.num_loss_tokens:
            self._is_first_checked = True
            default = 0.01 if config.model.dtype == "float32" else float("inf")
            check_first_step(
                report,
                max_ratio_error=default if limit is None else limit,
                is_reference_fresh=config.loss.beta > 0 and self.state.step == 0,
            )
        return staleness

    async def _reference_is_due(self) -> None:
        every = self.config.loss.replace_reference_every
        if every and (self.state.step + 1) % every == 0:
            await self.learner.replace_reference()

    async def _publish(self, in_flight: Sequence[_InFlight], clock: _Clock) -> float | None:
        """The new weights to the engines; returns the probe's error, or None where the run is to
        stop: nothing will be written under them, and the step itself is whole.
        """
        try:
            with clock.measure("harvest_wait_s"):  # no completion sees two policies
                await self._unless_stopped(asyncio.gather(*(item.harvest for item in in_flight)))
            with clock.measure("sync_s"):
                sync = await self._unless_stopped(self.sync_weights(self.state.step))
        except Stopped:
            return None
        return sync.probe_error

    def _is_due(self, every_steps: int | None) -> bool:
        step = self.state.step
        return step == self.config.num_steps or bool(every_steps and step % every_steps == 0)

    async def _evaluate(self) -> None:
        if not self.eval_tasks:
            return
        section = self.config.eval
        self.log.phase(f"evaluating {len(self.eval_tasks)} held-out problems")
        work = self.harvester.harvest(
            self.eval_tasks,
            group_size=section.samples_per_task,
            sampling=self._sampling(section.temperature),
            policy_version=self.state.step,
            seed_parts=("eval",),
        )
        harvest = await self._unless_stopped(work)
        names = list(self.config.rewards)
        evaluation = summarize(
            harvest.groups,
            step=self.state.step,
            correct_by=section.correct_by or names[0],
            format_by="think_format" if "think_format" in names else None,
            thought_open=self.harvester.encoder.thought_open,
        )
        self.log.evaluation(evaluation, harvest.groups)

    def _sampling(self, temperature: float) -> SamplingSpec:
        rollout = self.config.rollout
        return SamplingSpec(
            temperature=temperature,
            max_tokens=rollout.max_tokens,
            stop=tuple(rollout.stop),
            stop_token_ids=self.stop_token_ids,
        )

    async def _save(self) -> None:
        self.log.settle()  # a kill may come right after; what is in a checkpoint is not done again
        found = self.checkpoints.latest()
        if found is not None and found[1].step == self.state.step:
            return  # it is whole, and the same
        path = await self.checkpoints.save(self.state, self.learner.save_checkpoint)
        logger.info("checkpoint %s", path)

    async def _abandon(self, in_flight: Sequence[_InFlight]) -> None:
        for item in in_flight:
            item.harvest.cancel()
        await asyncio.gather(*(item.harvest for item in in_flight), return_exceptions=True)
