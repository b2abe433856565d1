"""Metrics, checkpoints and stopping, between two steps of a trainer.

checkpoints/checkpoint-200/   files of the trainer and of DeepSpeed, and `whole`, written last: a
                              checkpoint without it is incomplete and is deleted
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback

from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import report_disk_errors
from rlvr.run.trackers import Trackers

__all__ = ["Progress", "checkpoint_step", "latest_checkpoint", "wait_for_all_ranks"]

COMPLETE = "whole"


class Progress(TrainerCallback):
    """Callback of one run; only the main rank writes.

    Signals wait for the end of the step: pass `on_signal` to `signals_handled_by`.
    """

    def __init__(
        self, *, metrics: MetricsFile, trackers: Trackers, keep: int, is_main: bool
    ) -> None:
        self._metrics = metrics
        self._trackers = trackers
        self._keep = keep
        self._is_main = is_main
        self._has_signal = False
        self.stopped_at: int | None = None

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Stop after this step; a second signal ends the process at once."""
        if self._has_signal:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._has_signal = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Write a line of metrics.jsonl with the unrounded numbers."""
        if not self._is_main or "loss" not in (logs or {}):
            return
        # the trainer restarts its count of tokens after a resume
        numbers = {key: value for key, value in logs.items() if key != "num_tokens"}
        line = {"step": state.global_step, **numbers}
        self._metrics.append(line)
        self._trackers.write(line)
        print(f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4g}", flush=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log at the end and at each checkpoint, so that a resumed run has the same lines."""
        is_last = state.global_step >= state.max_steps
        if self._any_rank_has_signal() and not is_last:
            control.should_save = control.should_training_stop = True
            self.stopped_at = state.global_step
        if is_last or control.should_save or state.global_step % args.save_steps == 0:
            control.should_log = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint complete once every rank has written its part; delete old ones."""
        wait_for_all_ranks()
        if self._is_main:
            folder = Path(args.output_dir)
            _mark_complete(folder / f"checkpoint-{state.global_step}")
            for old in _complete(folder)[: -self._keep]:
                shutil.rmtree(old)
        wait_for_all_ranks()

    def _any_rank_has_signal(self) -> bool:
        """All ranks must stop after the same step, or some would wait for the others forever."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return self._has_signal
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        flag = torch.tensor([float(self._has_signal)], device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint, and delete the incomplete ones."""
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).exists():
            shutil.rmtree(path)
    return next(reversed(_complete(folder)), None)


def checkpoint_step(checkpoint: Path) -> int:
    """Return the step in the checkpoint's name."""
    return int(checkpoint.name.rpartition("-")[2])


def wait_for_all_ranks() -> None:
    """Wait until all ranks are here."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()


def _complete(folder: Path) -> list[Path]:
    """Return the complete checkpoints, oldest first."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return sorted(found, key=checkpoint_step)


def _mark_complete(checkpoint: Path) -> None:
    with report_disk_errors(checkpoint):
        for path in [*checkpoint.rglob("*"), checkpoint]:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        (checkpoint / COMPLETE).touch()
