"""One step of a run on disk: its batch, the checkpoint before it, and its line of metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.data.model_copy import MODEL_COPY, find_model
from rlvr.data.model_files import absolute_path
from rlvr.errors import ConfigError
from rlvr.run.checkpoints import complete_checkpoints
from rlvr.run.rollout_store import check_tokens, stored_steps
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import RunFolder

__all__ = ["StoredStep", "find_step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """The inputs of a step for a learner, and the numbers that it reported the first time."""

    batch: Path  # file of rlvr.run.rollout_store
    checkpoint: Path | None  # of the step before; None: step 1, which starts from the model
    model: str  # folder or hub name that the learner loads first
    metrics: Mapping[str, Any]


def find_step(folder: RunFolder, step: int, *, model_path: str) -> StoredStep:
    """Return a step of a run; `model_path` is the run's own.

    Raises ConfigError: batch, checkpoint or metrics are not on disk; it names the steps that can be
    replayed.
    """
    batches, checkpoints = stored_steps(folder.rollouts), complete_checkpoints(folder.checkpoints)
    possible = [one for one in batches if one == 1 or one - 1 in checkpoints]
    metrics = _metrics(folder).get(step)
    if step not in possible or metrics is None:
        missing = _missing(step, has_batch=step in batches, has_metrics=metrics is not None)
        raise ConfigError(
            f"{folder.path}: step {step} cannot be replayed, {missing}; steps that can be: "
            f"{', '.join(map(str, possible)) or 'none'} (checkpoint.every_steps and "
            "checkpoint.keep say which checkpoints there are)"
        )
    check_tokens(batches[step])
    checkpoint = checkpoints.get(step - 1)
    return StoredStep(
        batch=batches[step],
        checkpoint=checkpoint,
        model=_model(folder, checkpoint, model_path=model_path),
        metrics=metrics,
    )


def _metrics(folder: RunFolder) -> dict[int, dict[str, Any]]:
    lines = MetricsFile(folder.metrics).lines()
    return {line["step"]: line for line in lines if "learner/loss" in line}


def _missing(step: int, *, has_batch: bool, has_metrics: bool) -> str:
    if not has_batch:
        return f"it has no rollouts/step_{step:06d}.parquet"
    if not has_metrics:
        return "it has no line in metrics.jsonl"
    return f"the checkpoint of step {step - 1} before it is not on disk"


def _model(folder: RunFolder, checkpoint: Path | None, *, model_path: str) -> str:
    """A checkpoint has the model, whose weights are those of the shards; so the run suffices."""
    if checkpoint is not None:
        return absolute_path(str(checkpoint / "model"))
    return absolute_path(find_model(model_path, copy=folder.path / MODEL_COPY))
