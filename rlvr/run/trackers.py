"""Copies of the metrics for TensorBoard and Weights & Biases; a failing tracker is dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlvr.config.training_sections import TrackersSection

__all__ = ["Trackers"]

logger = logging.getLogger(__name__)
Write = Callable[[Mapping[str, float], int], None]


class Trackers:
    """The trackers that the recipe enables and that have not failed."""

    def __init__(self, section: TrackersSection, *, folder: Path, name: str) -> None:
        self._writers: dict[str, Write] = {}
        for tracker, start in {"tensorboard": _tensorboard, "wandb": _wandb}.items():
            if getattr(section, tracker):
                with self._guarded(tracker):
                    self._writers[tracker] = start(folder, name)

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Send the numbers of a line of metrics.jsonl."""
        numbers = {
            k: float(v) for k, v in metrics.items() if isinstance(v, int | float) and k != "step"
        }
        for tracker, write in list(self._writers.items()):
            with self._guarded(tracker):
                write(numbers, metrics["step"])

    @contextmanager
    def _guarded(self, tracker: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # third-party code and network: must not stop a run
            self._writers.pop(tracker, None)
            logger.warning("tracker %s is off: %s: %s", tracker, type(error).__name__, error)


def _tensorboard(folder: Path, name: str) -> Write:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder / "tensorboard")

    def write(numbers: Mapping[str, float], step: int) -> None:
        for key, value in numbers.items():
            writer.add_scalar(key, value, step)
        writer.flush()

    return write


def _wandb(folder: Path, name: str) -> Write:
    import wandb

    run = wandb.init(
        dir=folder, name=name, id=name, resume="allow", settings=wandb.Settings(login_timeout=30)
    )
    return lambda numbers, step: run.log(dict(numbers), step=step)
