"""One rank's training, from the data to the saved model.

tokens --> trainer (TRL on DeepSpeed) --> checkpoints/ ... --> model/ or adapter/
               ^ resumes from the newest whole checkpoint
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, Stopped
from rlvr.run.manifest import make_manifest
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import RunFolder, write_json
from rlvr.stages.sft.arguments import has_checkpointing, training_arguments
from rlvr.stages.sft.dataset import TokenData, check_counts, make_data
from rlvr.stages.sft.models import load_model, load_tokenizer, make_lora, start_of
from rlvr.stages.sft.rank_process import has_gpu
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.training_memory import check_training_memory

__all__ = [
    "make_trainer",
    "outcome",
    "save_model",
    "train_language_model",
    "train_to_the_end",
    "write_manifest",
]


def train_language_model(config: SftConfig, folder: RunFolder, *, rank: int = 0) -> None:
    """Leaves model/ or adapter/ and summary.json. Raises Stopped after a checkpoint."""
    is_cpu = not has_gpu()
    tokenizer = load_tokenizer(config)
    data = make_data(config, tokenizer, folder.path / "tokens" / str(rank))
    if rank == 0:
        write_manifest(config, folder, counts=asdict(data.counts))
        for line in check_counts(data.counts, config):
            print(f"warning: {line}", flush=True)
    row_tokens = config.max_tokens if config.packing else data.counts.longest_tokens
    checkpointing = has_checkpointing(config, is_cpu=is_cpu)
    check_training_memory(
        config,
        start_of(config).weights,
        row_tokens=row_tokens,
        free_bytes=free_bytes(is_cpu=is_cpu),
        checkpointing=checkpointing,
    )
    trainer = make_trainer(config, data, tokenizer, output_dir=folder.checkpoints)
    train_to_the_end(trainer, config, folder, is_main=rank == 0)
    _save(trainer, tokenizer, config, folder, is_main=rank == 0)
    if rank == 0:
        shutil.rmtree(folder.path / "tokens", ignore_errors=True)
        counts = data.counts
        thoughts = {"num_rows": counts.num_rows, "thought_frac": counts.thought_frac}
        summary = {**thoughts, "num_tokens": counts.num_tokens, **outcome(trainer, folder)}
        write_json(folder.summary, summary)


def make_trainer(config: SftConfig, data: TokenData, tokenizer: Any, *, output_dir: Path) -> Any:
    """TRL's trainer over the rows, with the model loaded."""
    from transformers import PrinterCallback
    from trl import SFTConfig as TrlConfig

    from rlvr.learner.cpu_linear import use_onednn
    from rlvr.stages.sft.trainer import RecipeTrainer

    is_cpu = not has_gpu()
    # before the model is loaded: ZeRO-3 shares out its weights as they come
    arguments = TrlConfig(
        **training_arguments(config, output_dir=output_dir, is_cpu=is_cpu),
        packing=config.packing,
        dataset_kwargs={"skip_prepare_dataset": not config.packing},  # tokenized, cut, labelled
    )
    model = load_model(config, tokenizer, is_cpu=is_cpu)
    if is_cpu:
        use_onednn(model)
    has_adapter = start_of(config).adapter is not None
    trainer = RecipeTrainer(
        config=config,
        domains=data.domains,
        teacher=_teacher(config, tokenizer, arguments.device),
        model=model,
        args=arguments,
        train_dataset=data.dataset,
        processing_class=tokenizer,
        peft_config=make_lora(config.lora) if config.lora and not has_adapter else None,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def train_to_the_end(trainer: Any, config: SftConfig, folder: RunFolder, *, is_main: bool) -> None:
    """Goes on from the newest whole checkpoint. Raises Stopped."""
    from rlvr.run.trackers import Trackers
    from rlvr.stages.sft.progress import Progress, latest_checkpoint, stop_flag, wait_for_all

    metrics = MetricsFile(folder.metrics)
    wait_for_all()
    checkpoint = latest_checkpoint(folder.checkpoints)
    step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    trackers = Trackers(config.trackers, folder=folder.path, name=config.name)
    if is_main:
        metrics.forget_after(step)
        if checkpoint:
            print(f"goes on after step {step}", flush=True)
    wait_for_all()
    with stop_flag() as stop:
        progress = Progress(
            metrics=metrics,
            trackers=trackers,
            stop=stop,
            keep=config.checkpoint.keep,
            is_main=is_main,
        )
        trainer.add_callback(progress)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if progress.stopped_at is not None:
        raise Stopped(progress.stopped_at)


def outcome(trainer: Any, folder: RunFolder) -> dict[str, Any]:
    """For the summary: the mean loss over all steps, also those before an interruption."""
    lines = [line for line in MetricsFile(folder.metrics).lines() if "loss" in line]
    starts = [0, *(line["step"] for line in lines)]
    parts = [
        line["loss"] * (line["step"] - start) for line, start in zip(lines, starts, strict=False)
    ]
    num_steps = int(trainer.state.global_step)
    return {
        "num_steps": num_steps,
        "train_loss": sum(parts) / num_steps if num_steps else None,
        "final_loss": lines[-1]["loss"] if lines else None,
        "num_trained_params": int(sum(p.numel() for p in _trained(trainer))),
    }


def write_manifest(config: SftConfig, folder: RunFolder, *, counts: Mapping[str, Any]) -> None:
    """What the run is made from."""
    start = start_of(config)
    data = {f"data.{i}": source.path for i, source in enumerate(config.sources)}
    data = {"data": config.data} if isinstance(config.data, str) and data else data
    teacher = {"distill.model": config.distill.model} if config.distill else {}
    inputs = {**start.files, **data, **teacher}
    manifest = {**make_manifest(config, inputs=inputs), "counts": dict(counts)}
    write_json(folder.manifest, manifest)


def free_bytes(*, is_cpu: bool) -> int:
    """Of the host, or of the first GPU."""
    if is_cpu:
        import psutil

        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info()[0])


def _zero_stage(trainer: Any) -> int:
    return int(trainer.accelerator.state.deepspeed_plugin.zero_stage)


def _trained(trainer: Any) -> list[Any]:
    return [
        p for p in trainer.accelerator.unwrap_model(trainer.model).parameters() if p.requires_grad
    ]


def _teacher(config: SftConfig, tokenizer: Any, device: Any) -> Any:
    """The model whose logits are learned. Raises ConfigError where its tokens mean other things."""
    if config.distill is None:
        return None
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = config.distill.model
    other = AutoTokenizer.from_pretrained(path, trust_remote_code=config.trust_remote_code)
    if other.get_vocab() != tokenizer.get_vocab():
        raise ConfigError(
            f"distill.model: {path} has another tokenizer than {config.model}; logits can only be "
            "learned from a teacher with the same one; use `rlvr distill` for others"
        )
    teacher = AutoModelForCausalLM.from_pretrained(
        path, dtype=getattr(torch, config.dtype), trust_remote_code=config.trust_remote_code
    )
    return teacher.to(device).eval().requires_grad_(False)


def _save(
    trainer: Any, tokenizer: Any, config: SftConfig, folder: RunFolder, *, is_main: bool
) -> None:
    """Written aside and renamed; adapters go to adapter/ alone."""
    final = folder.path / "adapter" if config.lora else folder.model
    save_model(trainer, tokenizer, final, is_main=is_main)


def save_model(trainer: Any, tokenizer: Any, final: Path, *, is_main: bool) -> None:
    """Every rank takes part, since ZeRO-3 has to gather the weights."""
    from rlvr.stages.sft.progress import wait_for_all

    aside = final.with_name(f".{final.name}.tmp")
    if is_main:
        shutil.rmtree(aside, ignore_errors=True)
    wait_for_all()
    # only ZeRO-3's shares are gathered: accelerate's copy of whole weights would untie the head
    is_shared_out = trainer.is_deepspeed_enabled and _zero_stage(trainer) == 3
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped) if is_shared_out else None
    if is_main:
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.save_pretrained(aside, state_dict=state)
        tokenizer.save_pretrained(aside)
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
    wait_for_all()
