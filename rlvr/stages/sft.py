"""Supervised training with TRL's SFTTrainer: the toy base model from nothing, and a cold start.

model: toy | directory     data: toy_text | toy_worked | rows.jsonl
     |                           |
     +-------- SFTTrainer -------+--> runs/NAME/model, which GRPO starts from
"""

from __future__ import annotations

import json
import os
import shutil
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config import SftConfig
from rlvr.errors import ConfigError
from rlvr.model_files import check_model
from rlvr.processes import actor_env
from rlvr.prompts import make_template
from rlvr.run_folder import RunFolder, write_json
from rlvr.tasks.rows import read_rows
from rlvr.types import Task

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["check_data", "run_sft"]

TOY_MODEL = "toy"
TOY_DATA = ("toy_text", "toy_worked")


def check_data(config: SftConfig) -> None:
    """Raises ConfigError with one line on what is wrong with model or data."""
    if config.model != TOY_MODEL:
        check_model(config.model, key="model")
    if config.data not in TOY_DATA:
        _rows_of_file(config)
    if make_template(config.prompt.template, key="prompt.template").text is None:
        raise ConfigError("prompt.template: chat is not for sft; give text with {prompt} in it")


def run_sft(config: SftConfig, folder: RunFolder) -> None:
    """Train and write `folder.model`; a killed run starts again, since nothing here takes long."""
    _prepare_process(config.threads or len(os.sched_getaffinity(0)))
    model, tokenizer = _load(config)
    from rlvr.cpu_linear import use_onednn

    use_onednn(model)
    aside = folder.path / ".model.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    dataset = _dataset(config)
    losses = _train(config, model, tokenizer, dataset, scratch=folder.path / "trainer")
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    shutil.rmtree(folder.model, ignore_errors=True)
    aside.rename(folder.model)
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in losses), encoding="utf-8")
    summary = {"num_rows": len(dataset), "train_loss": losses[-1]["train_loss"]}
    write_json(folder.summary, summary)
    print(f"{folder.model} is made: {len(dataset)} rows, mean loss {summary['train_loss']:.3f}")


def _prepare_process(num_threads: int) -> None:
    """Before torch is imported: threads that do not spin while they wait, libraries that are quiet.

    Bars for work of a second or less would only hide the lines that matter.
    """
    is_cpu = shutil.which("nvidia-smi") is None
    os.environ.update(actor_env(num_threads=num_threads, is_cpu=is_cpu))
    if not is_cpu:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # else every GPU multiplies the batch
    os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _load(config: SftConfig) -> tuple[Any, Any]:
    if config.model == TOY_MODEL:
        from rlvr.toy.model import make_model
        from rlvr.toy.tokenizer import make_tokenizer

        tokenizer = make_tokenizer(seed=config.seed)
        return make_model(tokenizer, seed=config.seed), tokenizer
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(config.model, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(config.model)


def _dataset(config: SftConfig) -> Dataset:
    """Rows with `text`, or with `prompt` (after the template) and `completion`."""
    from datasets import Dataset

    if config.data == "toy_text":
        from rlvr.toy.corpus import documents

        return Dataset.from_dict({"text": list(islice(documents(config.seed), config.num_rows))})
    return Dataset.from_list(_render(config, _rows(config)))


def _rows(config: SftConfig) -> list[dict[str, str]]:
    if config.data != "toy_worked":
        return _rows_of_file(config)
    from rlvr.toy.corpus import worked_examples

    examples = worked_examples(config.num_rows, seed=config.seed)
    return [{"prompt": e.prompt, "completion": e.completion} for e in examples]


def _rows_of_file(config: SftConfig) -> list[dict[str, str]]:
    """The first rows of a file, all with `text` or all with `prompt` and `completion`."""
    rows = list(islice(read_rows(config.data, split=None, section="data"), config.num_rows))
    if not rows:
        raise ConfigError(f"data: {config.data} holds no rows")
    names = ("text",) if "text" in rows[0].values else ("prompt", "completion")
    for row in rows:
        missing = [name for name in names if not isinstance(row.values.get(name), str)]
        if missing:
            there = ", ".join(sorted(row.values))
            raise ConfigError(f"{row.where}: no text under {missing[0]!r}; the row has {there}")
    return [{name: row.values[name] for name in names} for row in rows]


def _render(config: SftConfig, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Prompts as GRPO's engines will see them."""
    if not rows or "prompt" not in rows[0]:
        return rows
    section = config.prompt
    template = make_template(section.template, prefill=section.prefill, key="prompt.template")
    return [
        {**row, "prompt": template.render(Task(id=str(i), prompt=row["prompt"])).text}
        for i, row in enumerate(rows)
    ]


def _train(
    config: SftConfig, model: Any, tokenizer: Any, dataset: Dataset, *, scratch: Path
) -> list[dict[str, Any]]:
    """Train in place; returns TRL's log, a line each fifty steps."""
    import torch
    from transformers import PrinterCallback
    from trl import SFTConfig as TrlConfig
    from trl import SFTTrainer

    is_cpu = not torch.cuda.is_available()
    args = TrlConfig(
        output_dir=str(scratch),
        seed=config.seed,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_steps,
        use_cpu=is_cpu,
        bf16=not is_cpu,
        max_length=config.max_tokens,
        num_train_epochs=config.num_epochs,
        per_device_train_batch_size=config.batch_size,
        max_grad_norm=1.0,
        gradient_checkpointing=not is_cpu,
        save_strategy="no",
        report_to="none",
        logging_steps=50,
        disable_tqdm=True,
        dataloader_pin_memory=not is_cpu,
    )
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=dataset,
        processing_class=tokenizer,
        optimizers=(_optimizer(config, model), None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_progress())
    trainer.train()
    shutil.rmtree(scratch, ignore_errors=True)
    return [line for line in trainer.state.log_history if "loss" in line or "train_loss" in line]


def _optimizer(config: SftConfig, model: Any) -> Any:
    import torch

    from rlvr.stages.muon import MuonWithAdamW

    if config.matrix_lr is None:
        return torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.0)
    return MuonWithAdamW(model, matrix_lr=config.matrix_lr, other_lr=config.lr)


def _progress() -> Any:
    """A line for each loss that TRL logs."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                print(
                    f"step {state.global_step}/{state.max_steps}  loss {logs['loss']}", flush=True
                )

    return Progress()
