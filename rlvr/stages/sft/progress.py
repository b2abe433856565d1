"""What happens between two steps: a line of metrics, a checkpoint that counts, a wish to stop.

checkpoints/checkpoint-200/   the trainer's and DeepSpeed's files, and `whole`, written last: a
                              checkpoint without it is half of one, and is taken away
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback

from rlvr.cluster.signals import SIGNALS
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import report_disk_errors
from rlvr.run.trackers import Trackers

__all__ = ["Progress", "StopFlag", "latest_checkpoint", "stop_flag", "wait_for_all"]

WHOLE = "whole"


class StopFlag:
    """Set by Ctrl-C or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.is_set = False

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        if self.is_set:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.is_set = True

    def of_any_rank(self) -> bool:
        """All ranks must stop after the same step, or one waits for the others for ever."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return self.is_set
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        flag = torch.tensor([float(self.is_set)], device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """While a model trains, signals wait for the end of the step."""
    flag = StopFlag()
    before = {number: signal.signal(number, flag.on_signal) for number in SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Progress(TrainerCallback):
    """Of one run; on rank 0 it also writes."""

    def __init__(
        self, *, metrics: MetricsFile, trackers: Trackers, stop: StopFlag, keep: int, is_main: bool
    ) -> None:
        self._metrics = metrics
        self._trackers = trackers
        self._stop = stop
        self._keep = keep
        self._is_main = is_main
        self.stopped_at: int | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """A line of metrics.jsonl for each that the trainer logs, with numbers to the full."""
        if not self._is_main or "loss" not in (logs or {}):
            return
        # the trainer counts tokens anew after a resume
        line = {key: value for key, value in logs.items() if key != "num_tokens"}
        line = {"step": state.global_step, **line}
        self._metrics.append(line)
        self._trackers.write(line)
        print(f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4g}", flush=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A line at the end and at each checkpoint, so that a resumed run has the same lines."""
        is_last = state.global_step >= state.max_steps
        if self._stop.of_any_rank() and not is_last:
            control.should_save = control.should_training_stop = True
            self.stopped_at = state.global_step
        if is_last or control.should_save or state.global_step % args.save_steps == 0:
            control.should_log = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Now it is whole: every rank has written its share."""
        wait_for_all()
        if self._is_main:
            folder = Path(args.output_dir)
            _mark_whole(folder / f"checkpoint-{state.global_step}")
            for old in _whole(folder)[: -self._keep]:
                shutil.rmtree(old)
        wait_for_all()


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole one; the halves that a kill left are taken away."""
    for path in folder.glob("checkpoint-*"):
        if not (path / WHOLE).exists():
            shutil.rmtree(path)
    whole = _whole(folder)
    return whole[-1] if whole else None


def wait_for_all() -> None:
    """A barrier over the ranks."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()


def _whole(folder: Path) -> list[Path]:
    """Oldest first."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def _mark_whole(checkpoint: Path) -> None:
    with report_disk_errors(checkpoint):
        for path in [*checkpoint.rglob("*"), checkpoint]:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        (checkpoint / WHOLE).touch()
