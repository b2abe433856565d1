"""Running a trainer: resuming, metrics, checkpoints, stopping and the saved result.

checkpoints/checkpoint-200/   files of the trainer and of DeepSpeed, and `whole`, written last: a
                              checkpoint without it is incomplete and is deleted
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback

from rlvr.config.training_sections import TrackersSection
from rlvr.errors import Stopped
from rlvr.run.checkpoints import (
    MARKERS,
    complete_checkpoints,
    delete_checkpoint,
    fsync_path,
    kept_steps,
)
from rlvr.run.progress import Progress
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import RunFolder, report_disk_errors, write_json
from rlvr.run.trackers import Trackers
from rlvr.stages.sft.ranks import signals_handled_by
from rlvr.stages.sft.resumed_lr import set_peak_lrs
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_plan import SftPlan
from rlvr.stages.sft.text_samples import sample_texts

__all__ = ["train_and_save"]

PREFIX = "checkpoint-"
COMPLETE = MARKERS[PREFIX]


def train_and_save(
    trainer: Any,
    plan: SftPlan,
    folder: RunFolder,
    *,
    result: Path,
    summary: Mapping[str, Any],
    is_main: bool,
) -> None:
    """Resume from the newest complete checkpoint, train, save the result and write the summary.

    Print samples at the end, if the recipe asks for them.

    Raises Stopped after a signal, with the step of its checkpoint.
    """
    metrics = MetricsFile(folder.metrics)
    _wait_for_all_ranks()
    step, checkpoint = _latest_checkpoint(folder.checkpoints) or (0, None)
    trackers = Trackers(
        plan.config.trackers if is_main else TrackersSection(),
        folder=folder.path,
        name=plan.config.name,
        config=plan.config.model_dump(mode="json"),
    )
    if is_main:
        metrics.forget_after(step)
        if checkpoint:
            print(f"resumes after step {step}", flush=True)
    _wait_for_all_ranks()
    run = _Run(plan.config, metrics, trackers, is_main=is_main)
    trainer.add_callback(run)
    with run.display, signals_handled_by(run.on_signal):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if run.stopped_at is not None:
        raise Stopped(run.stopped_at)
    _save(trainer, result, is_main=is_main)
    if is_main:
        shutil.rmtree(folder.path / "tokens", ignore_errors=True)
        samples = _print_samples(trainer, plan)
        write_json(folder.summary, {**summary, **_training_summary(trainer, metrics), **samples})


class _Run(TrainerCallback):
    """Callback of one run; only the main rank writes.

    Signals wait for the end of the step: pass `on_signal` to `signals_handled_by`.
    """

    def __init__(
        self, config: SftConfig, metrics: MetricsFile, trackers: Trackers, *, is_main: bool
    ) -> None:
        self._metrics = metrics
        self._trackers = trackers
        self._keep = config.checkpoint.keep
        self._peak_lrs = config.matrix_lr or config.lr, config.lr
        self._is_main = is_main
        self._has_signal = False
        self._progress: Progress | None = None
        self._started = time.monotonic()
        self._note = ""
        self.display = ExitStack()  # closes the progress bar
        self.stopped_at: int | None = None

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Stop after this step; a second signal ends the process at once."""
        if self._has_signal:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._has_signal = True

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        optimizer: Any = None,
        lr_scheduler: Any = None,
        **_: Any,
    ) -> None:
        """Start to measure the time left; give a resumed run the recipe's rate and intervals."""
        if state.global_step:
            state.compute_steps(args, state.max_steps)  # the checkpoint's have replaced them
            first, others = self._peak_lrs
            scheduler = getattr(lr_scheduler, "scheduler", lr_scheduler)  # accelerate may wrap it
            set_peak_lrs(optimizer, scheduler, first=first, others=others)
        self._started = time.monotonic()
        if self._is_main:
            progress = Progress("steps", total=state.max_steps, first=state.global_step)
            self._progress = self.display.enter_context(progress)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Write a line of metrics.jsonl with the unrounded numbers."""
        if not self._is_main or "loss" not in (logs or {}):
            return
        # the trainer restarts its count of tokens after a resume
        numbers = {key: value for key, value in logs.items() if key != "num_tokens"}
        tokens_per_s = logs.get("num_tokens", 0) / (time.monotonic() - self._started)
        self._note = f"loss {logs['loss']:.4g}  {tokens_per_s:,.0f} tokens/s"
        line = {"step": state.global_step, **numbers}
        self._metrics.append(line)
        self._trackers.write(line)
        if self._progress:
            self._progress.update(state.global_step, self._note)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log at the end and at each checkpoint, so that a resumed run has the same lines."""
        is_last = state.global_step >= state.max_steps
        if self._any_rank_has_signal() and not is_last:
            control.should_save = control.should_training_stop = True
            self.stopped_at = state.global_step
        if is_last or control.should_save or state.global_step % args.save_steps == 0:
            control.should_log = True
        if self._progress and not control.should_log:
            self._progress.update(state.global_step, self._note)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint complete once every rank has written its part; delete old ones."""
        _wait_for_all_ranks()
        if self._is_main:
            folder = Path(args.output_dir)
            _mark_complete(folder / f"{PREFIX}{state.global_step}")
            paths = complete_checkpoints(folder)
            for step in paths.keys() - kept_steps(paths, self._keep, scores={}):
                delete_checkpoint(paths[step])
        _wait_for_all_ranks()

    def _any_rank_has_signal(self) -> bool:
        """All ranks must stop after the same step, or some would wait for the others forever."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return self._has_signal
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        flag = torch.tensor([float(self._has_signal)], device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())


def _latest_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """Return step and path of the newest complete checkpoint, and delete the incomplete ones."""
    for path in folder.glob(f"{PREFIX}*"):
        if not (path / COMPLETE).exists():
            shutil.rmtree(path)
    return next(reversed(complete_checkpoints(folder).items()), None)


def _wait_for_all_ranks() -> None:
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()


def _mark_complete(checkpoint: Path) -> None:
    with report_disk_errors(checkpoint):
        for path in [*checkpoint.rglob("*"), checkpoint]:
            fsync_path(path)
        (checkpoint / COMPLETE).touch()


def _save(trainer: Any, result: Path, *, is_main: bool) -> None:
    """Save the model or adapter atomically; every rank takes part, since ZeRO-3 gathers weights."""
    temporary = result.with_name(f".{result.name}.tmp")
    if is_main:
        shutil.rmtree(temporary, ignore_errors=True)
    _wait_for_all_ranks()
    accelerator, state = trainer.accelerator, None
    # only for ZeRO-3: accelerate's copy of unsharded weights would untie the head
    if trainer.is_deepspeed_enabled and accelerator.state.deepspeed_plugin.zero_stage == 3:
        state = accelerator.get_state_dict(trainer.model_wrapped)
    if is_main:
        accelerator.unwrap_model(trainer.model).save_pretrained(temporary, state_dict=state)
        trainer.processing_class.save_pretrained(temporary)
        shutil.rmtree(result, ignore_errors=True)
        temporary.rename(result)
    _wait_for_all_ranks()


def _print_samples(trainer: Any, plan: SftPlan) -> dict[str, Any]:
    """Return the samples for the summary."""
    if not plan.config.samples:
        return {}
    samples = sample_texts(
        trainer.accelerator.unwrap_model(trainer.model),
        trainer.processing_class,
        trainer.train_dataset,
        num_samples=plan.config.samples,
        seed=plan.config.seed,
    )
    for number, sample in enumerate(samples, start=1):
        print(f"--- sample {number}, written by the model after ▶\n{sample}", flush=True)
    return {"samples": [asdict(sample) for sample in samples]}


def _training_summary(trainer: Any, metrics: MetricsFile) -> dict[str, Any]:
    """Summarize all steps, also those before an interruption."""
    lines = [line for line in metrics.lines() if "loss" in line]
    starts = [0, *(line["step"] for line in lines)]
    parts = [
        line["loss"] * (line["step"] - start) for line, start in zip(lines, starts, strict=False)
    ]
    num_steps = int(trainer.state.global_step)
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {
        "num_steps": num_steps,
        "train_loss": sum(parts) / num_steps if num_steps else None,
        "final_loss": lines[-1]["loss"] if lines else None,
        "num_trained_params": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
