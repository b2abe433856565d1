"""The training loop: rollout batch, advantages, mini-batches, learner step, weight sync; again.

    step t      rollout batch t -> advantages, packing -> learner step -> sync -> evaluate, log, save
    step t + 1                                      rollout batch t + 1 (max_staleness: 1) ...

With num_minibatches: 16 a rollout batch is that of steps t to t + 15: advantages are made on its
whole groups, each step takes a sixteenth of its completions, and sync, evaluation and periodic
checkpoints wait for the last. policy_version stays the number of optimizer steps.

One asyncio controller that holds no tensor. A sync waits for the rollout batches that run, so a
completion
is written by one policy version. The cursor that a checkpoint keeps is that of the rollout batch
that was
trained, not of one that was fetched ahead; a run that is stopped between two mini-batches keeps the
rollout batch itself. So every completion that is trained is trained once, whenever a run was ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rlvr.cluster.signals import in_daemon_thread, unless_stopped
from rlvr.data.tasks import TaskStream
from rlvr.errors import CheckError, Stopped
from rlvr.grpo.advantages import AdvantageScale
from rlvr.grpo.batching import make_batch
from rlvr.grpo.checks import SignalCheck, check_first_step, check_graded, check_mismatch
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.held_out_eval import Evaluation, summarize
from rlvr.grpo.metrics import StepTimes, step_metrics
from rlvr.grpo.rollout_buffer import OpenBatch, RolloutBuffer, sampling_spec
from rlvr.grpo.rollouts import RolloutCollector
from rlvr.run.checkpoints import Checkpoints
from rlvr.types import Batch, Group, StepReport, Task, TrainState
from rlvr.weight_sync.sync import SyncReport

__all__ = ["GrpoLoop", "Learner", "Log"]

logger = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")


class Learner(Protocol):
    """What changes the weights."""

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        """One optimizer step; CheckError where loss or gradient is not finite."""
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
    collector: RolloutCollector
    learner: Learner
    sync_weights: Callable[[int], Awaitable[SyncReport]]
    tasks: TaskStream
    eval_tasks: Sequence[Task]
    stop_token_ids: tuple[int, ...]
    checkpoints: Checkpoints
    log: Log
    stop: asyncio.Event
    state: TrainState = field(default_factory=TrainState)
    _queue: RolloutBuffer = field(init=False)
    _open: OpenBatch | None = field(init=False, default=None)  # its mini-batches are trained
    _signal: SignalCheck = field(init=False)
    _is_first_checked: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._signal = SignalCheck(self.config.checks.max_no_signal_steps)
        self._queue = RolloutBuffer(
            self.config,
            collector=self.collector,
            tasks=self.tasks,
            stop_token_ids=self.stop_token_ids,
        )

    async def run(self) -> TrainState:
        """Train from the latest checkpoint to the last step.

        Raises:
            Stopped: `stop` was set; a checkpoint of the last whole step is written.
            CheckError: a self-check failed.
        """
        try:
            await self._restore()
            await self._unless_stopped(self.sync_weights(self.state.step))
            if self.state.step == 0 or self._is_due(self.config.eval.every_steps):
                await self._evaluate()  # also what a kill may have cut short
            while self.state.step < self.config.num_steps:
                await self._step()
                if self.stop.is_set():
                    raise Stopped(self.state.step)
                if self._is_due(self.config.checkpoint.every_steps):
                    await self._save()
                if self._is_due(self.config.eval.every_steps):
                    await self._evaluate()
        except Stopped:
            await self._queue.abandon()
            if self.state.step > 0:
                await self._save()
            raise
        finally:
            await self._queue.abandon()
        return self.state

    async def _step(self) -> None:
        """One optimizer step; a rollout batch's first waits for it, its last brings the engines the
        weights.
        """
        clock = _Clock()
        taken = self._open or await self._take_batch(clock)
        self._signal.check(taken.rollouts.groups)
        groups = taken.minibatch(self.state.step, seed=self.config.seed)
        batch = self._pack(groups, max_tokens=taken.plan.max_tokens)
        with clock.measure("learn_s"):
            report = await self._learn(batch)  # the next rollout batch runs meanwhile
        staleness = self._check(groups, report)
        await self._reference_is_due()
        self._advance(taken, groups)
        probe_error = None if self._open else await self._publish(clock)
        metrics = step_metrics(
            taken.rollouts,
            groups,
            report,
            clock.times(),
            step=self.state.step,
            staleness=staleness,
            probe_error=probe_error,
        )
        self.log.step(metrics, groups)

    async def _take_batch(self, clock: _Clock) -> OpenBatch:
        self._queue.start(policy_version=self.state.step)
        scale: AdvantageScale = "none" if self.config.loss.name == "dr_grpo" else "std"
        with clock.measure("rollout_wait_s"):
            taken = await self._unless_stopped(self._queue.take(advantage_scale=scale))
        limit_frac = self.config.checks.max_ungraded_frac
        check_graded(taken.rollouts.groups, limit_frac=limit_frac)
        return taken

    def _advance(self, taken: OpenBatch, groups: Sequence[Group]) -> None:
        """Count a step; what is left of its rollout batch stays open."""
        is_last = self.state.step + 1 == taken.end_step
        num_tokens = sum(len(r.completion.token_ids) for g in groups for r in g.rollouts)
        cursor = taken.plan.cursor if is_last else self.state.cursor
        self.state = self.state.after(cursor=cursor, num_tokens=num_tokens)
        self._open = None if is_last else taken

    async def _restore(self) -> None:
        found = self.checkpoints.latest()
        if found is not None:
            folder, self.state = found
            self._open = OpenBatch.load(folder)
            await self._unless_stopped(self.learner.load_checkpoint(str(folder.resolve())))
        if self._open is not None:
            self._queue.seek(step=self._open.end_step, cursor=self._open.plan.cursor)
        else:
            self._queue.seek(step=self.state.step, cursor=self.state.cursor)

    def _unless_stopped(self, work: Awaitable[ResultT]) -> Awaitable[ResultT]:
        return unless_stopped(work, self.stop, step=self.state.step)

    def _pack(self, groups: Sequence[Group], *, max_tokens: int) -> Batch:
        config = self.config
        return make_batch(
            groups,
            loss=config.loss.name,
            max_tokens=max_tokens,
            token_budget=config.learner.token_budget,
            num_ranks=config.learner.num_ranks,
            skip_no_signal=config.loss.beta == 0,  # their gradient is exactly zero
        )

    async def _learn(self, batch: Batch) -> StepReport:
        try:
            return await self.learner.step(batch, step=self.state.step)
        except CheckError as error:
            path = self.log.broken_batch(batch, self.state.step + 1)
            raise CheckError(f"{error}; the batch is kept in {path}") from error

    def _check(self, groups: Sequence[Group], report: StepReport) -> int:
        """The checks of a step; returns its staleness, in optimizer steps."""
        config = self.config
        versions = [r.completion.policy_version for g in groups for r in g.rollouts]
        staleness = self.state.step - min(versions)
        check_mismatch(report, checks=config.checks, staleness=staleness)
        limit = config.checks.max_first_ratio_error
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

    async def _publish(self, clock: _Clock) -> float | None:
        """The new weights to the engines; returns the probe's error, or None where the run is to
        stop: nothing will be written under them, and the step itself is whole.
        """
        try:
            with clock.measure("rollout_wait_s"):  # no completion sees two policies
                await self._unless_stopped(self._queue.all_written())
            with clock.measure("sync_s"):
                sync = await self._unless_stopped(self.sync_weights(self.state.step))
        except Stopped:
            return None
        return sync.probe_error

    def _is_due(self, every_steps: int | None) -> bool:
        """Between two rollout batches, where one of these steps has come since the last time."""
        step, num_minibatches = self.state.step, self.config.rollout.num_minibatches
        if step == self.config.num_steps:
            return True
        is_between = step % num_minibatches == 0
        return bool(every_steps and is_between and step % every_steps < num_minibatches)

    async def _evaluate(self) -> None:
        if not self.eval_tasks:
            return
        section = self.config.eval
        self.log.phase(f"evaluating {len(self.eval_tasks)} held-out problems")
        work = self.collector.collect(
            self.eval_tasks,
            group_size=section.samples_per_task,
            sampling=sampling_spec(
                self.config,
                step=self.state.step,
                temperature=section.temperature,
                stop_token_ids=self.stop_token_ids,
            ),
            policy_version=self.state.step,
            seed_parts=("eval",),
        )
        rollouts = await self._unless_stopped(work)
        names = list(self.config.rewards)
        evaluation = summarize(
            rollouts.groups,
            step=self.state.step,
            correct_by=section.correct_by or names[0],
            format_by="think_format" if "think_format" in names else None,
            think_prefilled=self.collector.encoder.think_prefilled,
        )
        self.log.evaluation(evaluation, rollouts.groups)

    async def _save(self) -> None:
        self.log.settle()  # a kill may come right after; what is in a checkpoint is not done again
        found = self.checkpoints.latest()
        if found is not None and found[1].step == self.state.step:
            return  # it is whole, and the same
        path = await self.checkpoints.save(self.state, self._write_checkpoint)
        logger.info("checkpoint %s", path)

    async def _write_checkpoint(self, folder: str) -> None:
        await self.learner.save_checkpoint(folder)
        if self._open is not None:
            await in_daemon_thread(partial(self._open.save, Path(folder)))
