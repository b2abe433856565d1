"""Small stand-ins for engines, graders, learner, weight sync and log: the loop's Protocols in plain
Python, and builders for the values that flow between them.

All of them write what happens into one list of events, in the order in which it happens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewards import Grade, Outcome
from rlvr.errors import CheckError
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.held_out_eval import Evaluation
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec
from rlvr.types import (
    Batch,
    Completion,
    FinishReason,
    Group,
    RewardResult,
    Rollout,
    StepReport,
    Task,
    Ungraded,
)
from rlvr.weight_sync.sync import SyncReport

SAMPLING = SamplingSpec(temperature=1.0, max_tokens=16, stop=(), stop_token_ids=(2,))


def completion_of(
    text: str = "5",
    *,
    num_tokens: int = 3,
    policy_version: int = 0,
    finish_reason: FinishReason = FinishReason.STOP,
) -> Completion:
    return Completion.sampled(
        np.arange(4, 4 + num_tokens, dtype=np.int32),
        np.full(num_tokens, -0.5, np.float32),
        text=text,
        finish_reason=finish_reason,
        policy_version=policy_version,
    )


def grades_of(**values: float | None) -> dict[str, Grade]:
    return {name: Grade(value=value, outcome=Outcome.VALUE) for name, value in values.items()}


def rollout_of(reward: float | None, text: str = "5", **parts: float | None) -> Rollout:
    """`parts` are those of the reward; without any, one that is called accuracy."""
    result = RewardResult(value=reward, grades=grades_of(**(parts or {"accuracy": reward})))
    return Rollout(completion=completion_of(text), reward=result)


def group_of(*rollouts: Rollout, task_id: str = "n/0") -> Group:
    return Group(
        task=Task(id=task_id, prompt="2+3?", columns={"answer": "5"}),
        prompt_token_ids=np.array([7, 8], np.int32),
        rollouts=rollouts,
    )


def report_of(**values: Any) -> StepReport:
    """A step about which nothing is remarkable, but for `values`."""
    plain: dict[str, Any] = {
        "loss": 0.25,
        "grad_norm": 0.5,
        "entropy": 1.5,
        "clip_frac": 0.125,
        "kl": 0.0,
        "mismatch_kl": 1e-6,
        "mismatch_median": 1e-6,
        "mismatch_p99": 1e-5,
        "mismatch_beyond_frac": 0.0,
        "max_ratio_error": 1e-5,
        "num_loss_tokens": 12,
        "num_tokens": 40,
        "num_computed_tokens": 32,
        "learn_s": 0.1,
    }
    return StepReport(**(plain | values))


def config_of(output_dir: Path | str = "runs", **sections: Any) -> GrpoConfig:
    """Three steps of two tasks with two completions each; `sections` replace whole sections."""
    plain: dict[str, Any] = {
        "name": "fake",
        "output_dir": str(output_dir),
        "num_steps": 3,
        "model": {"path": "model"},
        "tasks": {"source": "toy"},
        "rewards": {"accuracy": 1.0},
        "rollout": {"tasks_per_step": 2, "group_size": 2, "max_tokens": 16},
    }
    return GrpoConfig.model_validate(plain | sections)


@dataclass(slots=True)
class FakeEncoder:
    """Every prompt is two tokens."""

    think_prefilled: bool = False

    def encode(self, task: Task) -> NDArray[np.int32]:
        return np.array([7, 8], np.int32)

    def text(self, task: Task) -> str:
        return f"User: {task.prompt}"

    def completion_ids(self, text: str) -> NDArray[np.int32]:
        return np.arange(len(text), dtype=np.int32)


@dataclass(slots=True)
class FakeEngines:
    """Writes the right answer 5 for even samples and 6 for odd ones, one completion a chunk."""

    events: list[str] = field(default_factory=list)
    version: int | None = None  # of the weights they hold; None: none yet
    is_mixed: bool = False  # completions may be under way when the version changes
    num_running: int = 0
    requests: list[tuple[Request, ...]] = field(default_factory=list)  # of each call
    max_tokens: list[int] = field(default_factory=list)  # of each call
    holds: dict[int, asyncio.Event] = field(default_factory=dict)  # call -> what its end waits for
    failures: dict[int, Exception] = field(default_factory=dict)  # call -> what ends it

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        call = len(self.requests)
        self.requests.append(tuple(requests))
        self.max_tokens.append(sampling.max_tokens)
        self.num_running += 1
        self.events.append(f"generate {call} under {policy_version}")
        try:
            for i, request in enumerate(requests):
                await asyncio.sleep(0)
                if i == len(requests) - 1 and call in self.holds:
                    await self.holds[call].wait()
                if call in self.failures:
                    raise self.failures[call]
                if not self.is_mixed:
                    assert self.version == policy_version, "a completion saw two policies"
                yield [self._finished(request, begun_under=policy_version)]
            self.events.append(f"generate {call} ends")
        finally:
            self.num_running -= 1

    def _finished(self, request: Request, *, begun_under: int) -> Finished:
        completion = completion_of(
            "6" if request.sample_index % 2 else "5",
            num_tokens=1 + request.seed % 3,
            policy_version=self.version or 0,
        )
        completion.policy_versions[0] = begun_under
        return Finished(
            task_index=request.task_index,
            sample_index=request.sample_index,
            completion=completion,
        )


@dataclass(slots=True)
class FakeGraders:
    """A completion is right where it is the answer."""

    events: list[str] = field(default_factory=list)
    failure: Exception | None = None
    always: float | None = None  # the value of every completion
    refuses_one_in: int | None = None  # completions, in the order in which they are graded
    num_graded: int = 0

    async def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.events.append(f"grade {len(ungraded.texts)}")
        pairs = zip(ungraded.texts, ungraded.columns, strict=True)
        values = [float(text == columns["answer"]) for text, columns in pairs]
        if self.always is not None:
            values = [self.always] * len(values)
        return [self._result(value) for value in values]

    def _result(self, value: float) -> RewardResult:
        self.num_graded += 1
        is_refused = self.refuses_one_in and self.num_graded % self.refuses_one_in == 0
        given = None if is_refused else value
        return RewardResult(value=given, grades=grades_of(accuracy=given))


@dataclass(slots=True)
class FakeLearner:
    """Its weights are one number that hangs on everything it was trained on, in order."""

    events: list[str] = field(default_factory=list)
    weights: float = 1.0
    batches: list[Batch] = field(default_factory=list)
    reports: dict[int, StepReport] = field(default_factory=dict)  # step -> what it reports
    failures: dict[int, BaseException] = field(default_factory=dict)  # step -> what ends it
    ended: dict[int, asyncio.Event] = field(default_factory=dict)  # step -> set when it is over

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        self.events.append(f"step {step}")
        if step in self.failures:
            raise self.failures[step]
        await asyncio.sleep(0)
        self.batches.append(batch)
        for micro_batch in (part for rank in batch.micro_batches for part in rank):
            self.weights = 0.5 * self.weights + float(
                micro_batch.advantages @ micro_batch.completion_lengths
            )
        self.events.append(f"step {step} ends")
        if step in self.ended:
            self.ended[step].set()
        return self.reports.get(step, report_of())

    async def replace_reference(self) -> None:
        self.events.append("replace reference")

    async def save_checkpoint(self, folder: str) -> None:
        self.events.append("save")
        (Path(folder) / "weights.json").write_text(json.dumps(self.weights), encoding="utf-8")

    async def load_checkpoint(self, folder: str) -> None:
        self.events.append("load")
        self.weights = json.loads((Path(folder) / "weights.json").read_text(encoding="utf-8"))


@dataclass(slots=True)
class FakeSync:
    """Gives the engines a new version, which no completion under way may see on-policy."""

    engines: FakeEngines
    failure: CheckError | None = None
    hold: asyncio.Event | None = None  # what its end waits for

    async def __call__(self, policy_version: int) -> SyncReport:
        if self.hold is not None:
            await self.hold.wait()
        is_idle = self.engines.num_running == 0
        assert is_idle or self.engines.is_mixed, "a sync while completions are written"
        if self.failure is not None:
            raise self.failure
        self.engines.events.append(f"sync {policy_version}")
        self.engines.version = policy_version
        return SyncReport(sync_s=0.0, probe_error=0.0)


@dataclass(slots=True)
class FakeLog:
    """Keeps what it is told."""

    events: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    groups: list[tuple[Group, ...]] = field(default_factory=list)  # of each step
    evaluations: list[Evaluation] = field(default_factory=list)
    broken: list[tuple[int, Batch]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def step(self, metrics: dict[str, Any], groups: Sequence[Group]) -> None:
        self.steps.append(metrics)
        self.groups.append(tuple(groups))

    def evaluation(self, evaluation: Evaluation, groups: Sequence[Group]) -> None:
        self.events.append(f"evaluation {evaluation.step}")
        self.evaluations.append(evaluation)

    def phase(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def settle(self) -> None:
        pass

    def broken_batch(self, batch: Batch, step: int) -> Path:
        self.broken.append((step, batch))
        return Path(f"broken_batch_{step}.npz")

    @property
    def task_ids(self) -> list[list[str]]:
        """Of each step, in order."""
        return [[group.task.id for group in groups] for groups in self.groups]
