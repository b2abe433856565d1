"""Log the progress of a run to metrics.jsonl, parquet files, the console and the trackers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.grpo.held_out_eval import Evaluation
from rlvr.grpo.run_summary import Z_95
from rlvr.run.console import RunConsole
from rlvr.run.rollout_store import forget_after, rollout_rows, write_rollouts
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import RunFolder, report_disk_errors
from rlvr.run.trackers import Trackers
from rlvr.types import Batch, Group, Task

__all__ = ["RunLogger"]

logger = logging.getLogger(__name__)


class RunLogger:
    """Implements the loop's Log.

    A thread writes the completions, to parquet files and trackers, at most one file behind.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        console: RunConsole,
        trackers: Trackers,
        prompt_text: Callable[[Task], str],
        with_tokens: bool = True,
        restarts: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`with_tokens`: store the token ids and log-probs of trained completions too;
        `restarts`: further metrics of each step.
        """
        self._folder = folder
        self._console = console
        self._trackers = trackers
        self._prompt_text = prompt_text
        self._with_tokens = with_tokens
        self._restarts = restarts
        self._metrics = MetricsFile(folder.metrics)
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None

    def start_at(self, step: int | None) -> None:
        """Drop what a killed run wrote after its checkpoint at `step`; None: it has none."""
        step = -1 if step is None else step
        self._metrics.forget_after(step)
        forget_after(self._folder.rollouts, step)

    def step(self, metrics: dict[str, Any], groups: Sequence[Group]) -> None:
        """Log a training step."""
        metrics = {**metrics, **self._restarts()}
        self._metrics.append(metrics)
        self._trackers.write(metrics)
        self._write("step", groups, metrics["step"])
        self._console.step(metrics)

    def evaluation(self, evaluation: Evaluation, groups: Sequence[Group]) -> None:
        """Log an evaluation."""
        line = {"step": evaluation.step, **evaluation.metrics()}
        self._metrics.forget_evaluation(evaluation.step)  # a resumed run repeats its last one
        self._metrics.append(line)
        self._trackers.write(line)
        self._write("eval", groups, evaluation.step)
        formed = (
            "" if evaluation.format_frac is None else f", well-formed {evaluation.format_frac:.3f}"
        )
        self._console.evaluation(
            f"step {evaluation.step}: held-out pass@1 {evaluation.pass_at_1:.3f} "
            f"+- {Z_95 * evaluation.pass_at_1_stderr:.3f}{formed} ({evaluation.num_tasks} problems)"
        )

    def phase(self, text: str) -> None:
        """Display the current phase."""
        self._console.phase(text)

    def warn(self, text: str) -> None:
        """Log a warning and print it."""
        logger.warning(text)
        self._console.print_line(f"warning: {text}")

    def broken_batch(self, batch: Batch, step: int) -> Path:
        """Save the arrays of a batch whose loss or gradient was not finite; return the file."""
        path = self._folder.path / f"broken_batch_{step:06d}.npz"
        arrays = {
            f"rank{rank}_{i}_{name}": getattr(micro_batch, name)
            for rank, micro_batches in enumerate(batch.micro_batches)
            for i, micro_batch in enumerate(micro_batches)
            for name in micro_batch.__slots__
        }
        with report_disk_errors(path):
            np.savez_compressed(path, **arrays)
        return path

    def settle(self) -> None:
        """Wait for the last file, so that no checkpoint is ahead of the rollouts on disk."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def close(self) -> None:
        """Wait for the last file and end the thread."""
        try:
            self.settle()
        finally:
            self._writer.shutdown()

    def _write(self, kind: str, groups: Sequence[Group], step: int) -> None:
        self.settle()
        self._writing = self._writer.submit(self._write_now, kind, groups, step)

    def _write_now(self, kind: str, groups: Sequence[Group], step: int) -> None:
        prompts = [self._prompt_text(group.task) for group in groups]
        with_tokens = self._with_tokens and kind == "step"
        rows = rollout_rows(groups, prompts, step=step, with_tokens=with_tokens)
        write_rollouts(self._folder.rollouts / f"{kind}_{step:06d}.parquet", rows)
        self._trackers.completions(rows, step=step, is_evaluation=kind == "eval")
