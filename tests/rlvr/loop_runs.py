"""A loop on small fakes, to be run, killed and stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes import (
    FakeEncoder,
    FakeEngines,
    FakeGraders,
    FakeLearner,
    FakeLog,
    FakeSync,
    config_of,
)

from rlvr.config.training_sections import RetentionSection
from rlvr.data.tasks import TaskList, TaskStream
from rlvr.errors import Stopped
from rlvr.grpo.loop import GrpoLoop
from rlvr.grpo.rollouts import RolloutCollector
from rlvr.run.checkpoints import Checkpoints
from rlvr.types import Task, TrainState

DEADLINE_S = 20  # of a test: a loop that waits for ever fails


class Killed(BaseException):
    """The end of a process, as far as a test can have it."""


@dataclass(slots=True)
class Run:
    """A loop on fakes that share one list of events."""

    folder: Path
    sections: dict[str, Any] = field(default_factory=dict)
    num_eval_tasks: int = 0
    events: list[str] = field(default_factory=list)
    engines: FakeEngines = field(init=False)
    graders: FakeGraders = field(init=False)
    learner: FakeLearner = field(init=False)
    log: FakeLog = field(init=False)
    sync: FakeSync = field(init=False)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.engines = FakeEngines(self.events)
        self.graders = FakeGraders()
        self.learner = FakeLearner(self.events)
        self.log = FakeLog(self.events)
        self.sync = FakeSync(self.engines)

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder / "checkpoints", keep=RetentionSection(last=2))

    def start(self, *, until: int | None = None) -> TrainState:
        return asyncio.run(asyncio.wait_for(self._loop().run(until=until), DEADLINE_S))

    def _loop(self) -> GrpoLoop:
        config = config_of(self.folder, **self.sections)
        self.engines.is_mixed = config.rollout.max_staleness > 0
        return GrpoLoop(
            config=config,
            collector=RolloutCollector(
                engines=self.engines,
                graders=self.graders,
                encoder=FakeEncoder(),
                seed=0,
                has_mixed_versions=self.engines.is_mixed,
            ),
            learner=self.learner,
            sync_weights=self.sync,
            tasks=TaskStream(numbered("train", 12), seed=0),
            eval_tasks=numbered("heldout", self.num_eval_tasks).tasks,
            stop_token_ids=(2,),
            checkpoints=self.checkpoints,
            log=self.log,
            stop=self.stop,
        )


def numbered(name: str, num_tasks: int) -> TaskList:
    tasks = (Task(id=f"{name}/{i}", prompt="?", columns={"answer": "5"}) for i in range(num_tasks))
    return TaskList(name=name, tasks=tuple(tasks))


def seeds(run: Run) -> list[list[int]]:
    """Of each call."""
    return [[request.seed for request in requests] for requests in run.engines.requests]


async def has_come(run: Run, events: set[str], running: asyncio.Task[TrainState]) -> None:
    """Wait for events."""
    while not events <= set(run.events):
        assert not running.done(), running.exception()
        await asyncio.sleep(0)


def stopped_at(run: Run, *events: str) -> int:
    """Set `stop` once these events have come; the step that the run stopped after."""

    async def stop_it() -> int:
        running = asyncio.create_task(run._loop().run())
        await has_come(run, set(events), running)
        run.stop.set()
        with pytest.raises(Stopped) as stopped:
            await asyncio.wait_for(running, DEADLINE_S)
        return stopped.value.step

    return asyncio.run(stop_it())
