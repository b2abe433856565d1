"""Stored batches in the place of engines: `learner.from_rollouts` trains those of another run.

runs/X/rollouts/step_000001.parquet, ... --StoredBatches--> loop --> learner --> checkpoints
"""

from __future__ import annotations

from pathlib import Path

from rlvr.cluster.signals import in_daemon_thread
from rlvr.config.sections import RolloutSection
from rlvr.errors import ConfigError
from rlvr.grpo.advantages import AdvantageScale
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.open_batch import BatchPlan, BufferCounts, OpenBatch
from rlvr.grpo.rollouts import RolloutBatch
from rlvr.run.rollout_store import check_tokens, read_groups, stored_steps
from rlvr.run.run_folder import RunFolder
from rlvr.types import Group, Ledger, Task

__all__ = ["StoredBatches", "check_stored_batches", "max_tokens_of", "stored_prompt"]

KEY = "learner.from_rollouts"
NOTHING_HELD = BufferCounts(stale=0, no_signal=0, waiting=0, under_way=0)


class StoredBatches:
    """The stored batches of a run, in order, each of them one optimizer step.

    A mini-batch of that run is a batch of its own here. The advantages are the stored ones.
    """

    def __init__(self, run: Path, *, rollout: RolloutSection) -> None:
        self._folder = RunFolder(run).rollouts
        self._rollout = rollout
        self._step = 0  # optimizer steps before the next batch
        self._cursor = 0  # tasks of the batches before

    def seek(self, *, step: int, ledger: Ledger) -> None:
        """Let the next batch be the one that is trained after `step` steps."""
        self._step, self._cursor = step, ledger.cursor

    def save(self, folder: Path) -> None:
        """Do nothing: the step says which batch is next."""

    def load(self, folder: Path) -> None:
        """Do nothing."""

    def fill(self, *, policy_version: int) -> None:
        """Do nothing: all batches are on disk."""

    async def take(self, *, advantage_scale: AdvantageScale) -> OpenBatch:
        """Read the next batch. Raises ConfigError: it is stored without tokens."""
        path = stored_steps(self._folder)[self._step + 1]
        groups = await in_daemon_thread(lambda: read_groups(path))
        plan = BatchPlan(
            first_step=self._step,
            num_steps=1,
            ledger=Ledger(cursor=self._cursor + self._rollout.tasks_per_step),
            max_tokens=max_tokens_of(self._step, rollout=self._rollout),
        )
        self.seek(step=self._step + 1, ledger=plan.ledger)
        return OpenBatch(plan=plan, rollouts=_without_times(groups), counts=NOTHING_HELD)

    async def cancel(self) -> None:
        """Do nothing."""


def max_tokens_of(step: int, *, rollout: RolloutSection) -> int:
    """Return the longest completion of the rollout batch that is trained after `step` steps."""
    return rollout.max_tokens_at(step - step % rollout.num_minibatches)


def _without_times(groups: tuple[Group, ...]) -> RolloutBatch:
    num_tokens = sum(len(r.completion.token_ids) for group in groups for r in group.rollouts)
    return RolloutBatch(groups=groups, generate_s=0.0, grade_s=0.0, num_tokens=num_tokens)


def stored_prompt(task: Task) -> str:
    """Return the prompt of a stored task, which is the text after the template."""
    return str(task.prompt)


def check_stored_batches(config: GrpoConfig, *, run: Path) -> None:
    """Raise ConfigError unless `run` has what each step of a `resolved` config trains."""
    folder, num_steps = RunFolder(run), config.total_steps
    if not folder.config.is_file():
        raise ConfigError(f"{KEY}: {run} is not the folder of a GRPO run")
    if run.resolve() == config.run_dir.resolve():
        raise ConfigError(f"{KEY}: {run} is the folder of this run; choose another name=...")
    files = stored_steps(folder.rollouts)
    missing = next((step for step in range(1, num_steps + 1) if step not in files), None)
    if missing is not None:
        hint = f"set num_steps={missing - 1}" if missing > 1 else "name a run that has trained"
        raise ConfigError(f"{KEY}: {run} has no stored batch of step {missing}; {hint}")
    for step in (1, num_steps):
        check_tokens(files[step])
    _check_advantages(config, folder)


def _check_advantages(config: GrpoConfig, folder: RunFolder) -> None:
    """Raise ConfigError for advantages of another scale: dr_grpo does not divide them."""
    for change in folder.changes(config):
        if change.key == "loss.name" and "dr_grpo" in (change.before, change.after):
            raise ConfigError(
                f"loss.name: {change.after} needs other advantages than those that {folder.path} "
                f"stored for {change.before}; set loss.name={change.before}"
            )
