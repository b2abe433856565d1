"""The training loop: rollouts, advantages, mini-batches, learner step, weight sync.

    fill the buffer -> take a batch -> batching -> learner step -> sync -> evaluate, log, save
      ^ engines generate, rewards grade: before (max_staleness: 0) or during the other parts

With num_minibatches: 16 a rollout batch serves steps t to t + 15: advantages are computed on its
whole groups, each step trains on a sixteenth of its completions, and sync, evaluation and periodic
checkpoints follow the last. policy_version is the number of optimizer steps.

One asyncio controller that holds no tensors. A sync waits for nothing: on-policy the engines are
idle, otherwise the weights change between two decode steps. A checkpoint keeps a ledger of the
tasks that are trained; a run that ends between two mini-batches keeps the rollout batch itself. So
each task is trained exactly once, whenever a run is interrupted.
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
from rlvr.grpo.batching import step_batch
from rlvr.grpo.checks import MismatchCheck, SignalCheck, check_first_step, check_graded
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.held_out_eval import Evaluation, summarize
from rlvr.grpo.metrics import StepTimes, step_metrics
from rlvr.grpo.open_batch import OpenBatch
from rlvr.grpo.rollout_buffer import RolloutBuffer
from rlvr.grpo.rollouts import EngineLoad, RolloutCollector
from rlvr.rollout.engine_requests import SamplingSpec
from rlvr.run.checkpoints import Checkpoints
from rlvr.run.trace import span
from rlvr.types import Batch, Group, Ledger, StepReport, Task, TrainState
from rlvr.weight_sync.sync import SyncReport

__all__ = ["Batches", "GrpoLoop", "Learner", "Log"]

logger = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")


class Batches(Protocol):
    """Rollout batches in the order of training; a checkpoint keeps where they go on."""

    def seek(self, *, step: int, ledger: Ledger) -> None:
        """Let the next rollout batch start at `step`; the ledger says which tasks are left."""

    def save(self, folder: Path) -> None:
        """Write what a resumed run needs besides the ledger to a checkpoint folder."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""

    def fill(self, *, policy_version: int) -> None:
        """Start tasks up to the limit; the engines hold the weights `policy_version`."""

    async def take(self, *, advantage_scale: AdvantageScale) -> OpenBatch:
        """Return the next rollout batch, with advantages."""

    async def cancel(self) -> None:
        """Cancel what is under way."""


class Learner(Protocol):
    """Trains the policy."""

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        """Take one optimizer step. Raises CheckError if loss or gradient is not finite."""

    async def replace_reference(self) -> None:
        """Replace the reference by the policy."""

    async def save_checkpoint(self, folder: str) -> None:
        """Write weights and optimizer state, and the policy as a model directory."""

    async def load_checkpoint(self, folder: str) -> None:
        """Read what `save_checkpoint` wrote."""


class Log(Protocol):
    """Stores and displays the progress of a run."""

    def step(self, metrics: dict[str, Any], groups: Sequence[Group]) -> None:
        """Log a training step."""

    def evaluation(self, evaluation: Evaluation, groups: Sequence[Group]) -> None:
        """Log an evaluation."""

    def phase(self, text: str) -> None:
        """Display the current phase of the run."""

    def warn(self, text: str) -> None:
        """Log a warning and display it."""

    def settle(self) -> None:
        """Wait until everything is on disk."""

    def broken_batch(self, batch: Batch, step: int) -> Path:
        """Save a batch whose loss or gradient was not finite; return the file."""


class _Clock:
    """Elapsed times of one step by phase."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._spent: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time of the block to `name`."""
        started = time.monotonic()
        try:
            with span(name.removesuffix("_s")):
                yield
        finally:
            self._spent[name] += time.monotonic() - started

    def times(self) -> StepTimes:
        """Return the times up to now."""
        return StepTimes(step_s=time.monotonic() - self._started, **self._spent)


@dataclass(slots=True, kw_only=True)
class GrpoLoop:
    """The GRPO algorithm over a collector, a learner and a weight sync."""

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
    engines: EngineLoad | None = None  # those of the collector
    batches: Batches | None = None  # None: a RolloutBuffer over the collector
    state: TrainState = field(default_factory=TrainState)
    _buffer: Batches = field(init=False)
    _open: OpenBatch | None = field(init=False, default=None)  # has untrained mini-batches
    _signal: SignalCheck = field(init=False)
    _mismatch: MismatchCheck = field(init=False)
    _is_first_checked: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        checks = self.config.checks
        warn, stop = checks.mismatch_limits(self.config.model.dtype)
        self._signal = SignalCheck(checks.max_no_signal_batches)
        self._mismatch = MismatchCheck(warn=warn, stop=stop)
        self._buffer = self.batches or RolloutBuffer(
            self.config,
            collector=self.collector,
            tasks=self.tasks,
            stop_token_ids=self.stop_token_ids,
            engines=self.engines,
        )

    async def run(self, *, until: int | None = None) -> TrainState:
        """Train from the latest checkpoint to the last step, or to step `until` of a longer run.

        Raises:
            Stopped: `stop` was set; a checkpoint of the last complete step is written.
            CheckError: a self-check failed.
        """
        try:
            await self._restore()
            await self._unless_stopped(self.sync_weights(self.state.step))
            if self.state.step == 0 or self._is_due(self.config.eval.every_steps):
                await self._evaluate()  # also one that a kill interrupted
            while self.state.step < (until or self.config.total_steps):
                with span("step", step=self.state.step + 1):
                    await self._step()
                if self.stop.is_set():
                    raise Stopped(self.state.step)
                if self._is_due(self.config.checkpoint.every_steps):
                    await self._save()
                if self._is_due(self.config.eval.every_steps):
                    await self._evaluate()
        except Stopped:
            await self._buffer.cancel()
            if self.state.step > 0:
                await self._save()
            raise
        finally:
            await self._buffer.cancel()
        return self.state

    async def _step(self) -> None:
        """Take one optimizer step: the first of a rollout batch waits for the rollouts, the last
        one syncs the weights.
        """
        clock = _Clock()
        taken = self._open or await self._take_batch(clock)
        groups = taken.minibatch(self.state.step, seed=self.config.seed)
        batch = self._make_batch(groups, max_tokens=taken.plan.max_tokens)
        with clock.measure("learn_s"):  # with max_staleness > 0 the next rollouts are generated
            report = await self._learn(batch)
        self._check(groups, report)
        await self._replace_reference_if_due()
        self._advance(taken, groups)
        is_final = self.state.step == self.config.total_steps  # a shortened run leaves mini-batches
        is_synced = self._open is None or is_final
        probe_error = await self._publish(clock) if is_synced else None
        metrics = step_metrics(
            taken.rollouts,
            groups,
            report,
            clock.times(),
            step=self.state.step,
            counts=taken.counts,
            engine_idle_s=self.engines.take_idle_s() if self.engines else 0.0,
            probe_error=probe_error,
        )
        self.log.step(metrics, groups)

    async def _take_batch(self, clock: _Clock) -> OpenBatch:
        self._buffer.fill(policy_version=self.state.step)
        scale: AdvantageScale = "none" if self.config.loss.name == "dr_grpo" else "std"
        with clock.measure("rollout_wait_s"):
            taken = await self._unless_stopped(self._buffer.take(advantage_scale=scale))
        limit_frac = self.config.checks.max_ungraded_frac
        check_graded(taken.rollouts.groups, limit_frac=limit_frac)
        self._signal.check(taken.rollouts.groups)
        return taken

    def _advance(self, taken: OpenBatch, groups: Sequence[Group]) -> None:
        """Count a step; keep the rollout batch open while it has untrained mini-batches."""
        is_last = self.state.step + 1 == taken.end_step
        num_tokens = sum(len(r.completion.token_ids) for g in groups for r in g.rollouts)
        ledger = taken.plan.ledger if is_last else self.state.ledger
        self.state = self.state.after(ledger=ledger, num_tokens=num_tokens)
        self._open = None if is_last else taken

    async def _restore(self) -> None:
        found = self.checkpoints.latest()
        if found is not None:
            folder, self.state = found
            self._open = OpenBatch.load(folder)
            self._buffer.load(folder)
            await self._unless_stopped(self.learner.load_checkpoint(str(folder.resolve())))
        if self._open is not None:
            self._buffer.seek(step=self._open.end_step, ledger=self._open.plan.ledger)
        else:
            self._buffer.seek(step=self.state.step, ledger=self.state.ledger)

    def _unless_stopped(self, work: Awaitable[ResultT]) -> Awaitable[ResultT]:
        return unless_stopped(work, self.stop, step=self.state.step)

    def _make_batch(self, groups: Sequence[Group], *, max_tokens: int) -> Batch:
        config = self.config
        with span("make batch"):
            return step_batch(
                groups, loss=config.loss, learner=config.learner, max_tokens=max_tokens
            )

    async def _learn(self, batch: Batch) -> StepReport:
        try:
            return await self.learner.step(batch, step=self.state.step)
        except CheckError as error:
            path = self.log.broken_batch(batch, self.state.step + 1)
            raise CheckError(f"{error}; the batch is saved as {path}") from error

    def _check(self, groups: Sequence[Group], report: StepReport) -> None:
        """Check the report of a step."""
        config = self.config
        oldest = min(r.completion.policy_versions.min() for g in groups for r in g.rollouts)
        staleness = self.state.step - int(oldest)
        if warning := self._mismatch.check(report, staleness=staleness):
            self.log.warn(warning)
        limit = config.checks.max_first_ratio_error
        if not self._is_first_checked and staleness == 0 and report.num_loss_tokens:
            self._is_first_checked = True
            default = 0.01 if config.model.dtype == "float32" else float("inf")
            check_first_step(
                report,
                max_ratio_error=default if limit is None else limit,
                is_reference_fresh=config.loss.beta > 0 and self.state.step == 0,
            )

    async def _replace_reference_if_due(self) -> None:
        every = self.config.loss.replace_reference_every
        if every and (self.state.step + 1) % every == 0:
            await self.learner.replace_reference()

    async def _publish(self, clock: _Clock) -> float | None:
        """Sync the weights to the engines; return the probe error, or None if the run is being
        stopped: the step is complete, and nothing will be generated under the new weights.
        """
        if self.stop.is_set():
            return None
        try:
            with clock.measure("sync_s"):
                sync = await self._unless_stopped(self.sync_weights(self.state.step))
        except Stopped:
            return None
        return sync.probe_error

    def _is_due(self, every_steps: int | None) -> bool:
        """Whether a multiple of `every_steps` was passed by the rollout batch that just ended."""
        step, num_minibatches = self.state.step, self.config.rollout.num_minibatches
        if step == self.config.total_steps:
            return True
        is_batch_end = step % num_minibatches == 0
        return bool(every_steps and is_batch_end and step % every_steps < num_minibatches)

    async def _evaluate(self) -> None:
        if not self.eval_tasks:
            return
        section = self.config.eval
        self.log.phase(f"evaluating {len(self.eval_tasks)} held-out problems")
        work = self.collector.collect(
            self.eval_tasks,
            group_size=section.samples_per_task,
            sampling=SamplingSpec(
                temperature=section.temperature,
                max_tokens=self.config.rollout.max_tokens_at(self.state.step),
                stop=tuple(self.config.rollout.stop),
                stop_token_ids=self.stop_token_ids,
            ),
            policy_version=self.state.step,
            seed_parts=("eval",),
        )
        with span("evaluate"):
            rollouts = await self._unless_stopped(work)
        names = list(self.config.rewards)
        evaluation = summarize(
            rollouts.groups,
            step=self.state.step,
            correct_by=self.config.accuracy_reward,
            format_by="think_format" if "think_format" in names else None,
            think_prefilled=self.collector.encoder.think_prefilled,
        )
        self.log.evaluation(evaluation, rollouts.groups)
        self.checkpoints.record_evaluation(self.state.step, pass_at_1=evaluation.pass_at_1)

    async def _save(self) -> None:
        self.log.settle()  # rollouts on disk must not be behind a checkpoint
        found = self.checkpoints.latest()
        if found is not None and found[1].step == self.state.step:
            return
        with span("checkpoint"):
            path = await self.checkpoints.save(self.state, self._write_checkpoint)
        logger.info("checkpoint %s", path)

    async def _write_checkpoint(self, folder: str) -> None:
        await self.learner.save_checkpoint(folder)
        self._buffer.save(Path(folder))
        if self._open is not None:
            await in_daemon_thread(partial(self._open.save, Path(folder)))
