"""A reward model: one number for a prompt with its completion, learned from preferences.

chosen, rejected     -log sigmoid(r(chosen) - r(rejected))         Bradley-Terry, as TRL has it
completion, label    cross-entropy of sigmoid(r) against label     pointwise

The text is the rendered prompt, then the completion with its end: what an engine wrote.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import torch

from rlvr.data.prompts import make_template
from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder, write_json
from rlvr.stages.sft.arguments import training_arguments
from rlvr.stages.sft.examples import Example
from rlvr.stages.sft.models import load_tokenizer
from rlvr.stages.sft.rank_process import has_gpu
from rlvr.stages.sft.rendering import RenderedRow
from rlvr.stages.sft.row_sources import chosen_examples
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.tokens import RowEncoder
from rlvr.stages.sft.training import outcome, save_model, train_to_the_end, write_manifest
from rlvr.types import Task

__all__ = ["train_reward_model"]


def train_reward_model(config: SftConfig, folder: RunFolder, *, rank: int = 0) -> None:
    """Leaves model/, which AutoModelForSequenceClassification and
    `rlvr.reward_models.preference_model` load.
    """
    tokenizer = load_tokenizer(config)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows, num_long = _token_rows(config, tokenizer)
    if not rows:
        raise ConfigError(f"data: {config.data} has no row of {config.max_tokens} tokens or fewer")
    is_pairwise = "chosen_ids" in rows[0]
    if rank == 0:
        write_manifest(config, folder, counts={"num_rows": len(rows), "num_too_long": num_long})
        if num_long:
            print(f"warning: max_tokens: {config.max_tokens}: {num_long} longer rows are dropped")
    trainer = _make_trainer(config, folder, rows, tokenizer, is_pairwise=is_pairwise)
    train_to_the_end(trainer, config, folder, is_main=rank == 0)
    save_model(trainer, tokenizer, folder.model, is_main=rank == 0)
    if rank == 0:
        shutil.rmtree(folder.path / "tokens", ignore_errors=True)
        kind = {"head": "scalar", "pairwise": is_pairwise, "num_rows": len(rows)}
        write_json(folder.summary, {**kind, **outcome(trainer, folder)})


def _token_rows(config: SftConfig, tokenizer: Any) -> tuple[list[dict[str, Any]], int]:
    """The rows as ids, and how many were too long. Raises ConfigError where kinds are mixed."""
    section = config.prompt
    template = make_template(section.template, system=section.system, prefill=section.prefill)
    encoder = RowEncoder(
        tokenizer=tokenizer, template=template, max_tokens=config.max_tokens, drops_long=True
    )
    rows: list[dict[str, Any]] = []
    num_long = 0
    for _, example in chosen_examples(config):
        row = _token_row(example, encoder)
        if rows and row.keys() != rows[0].keys():
            raise ConfigError(f"{example.where}: rows with chosen and rows with label do not mix")
        is_whole = all(ids for name, ids in row.items() if name.endswith("ids"))
        num_long += not is_whole
        if is_whole:
            rows.append(row)
    return rows, num_long


def _token_row(example: Example, encoder: RowEncoder) -> dict[str, Any]:
    if "chosen" not in example.columns:
        ids = _ids(example, example.completion, encoder)
        return {"input_ids": ids, "label": float(example.columns["label"])}
    return {
        "chosen_ids": _ids(example, example.completion, encoder),
        "rejected_ids": _ids(example, example.columns["rejected"], encoder),
    }


def _ids(example: Example, completion: str, encoder: RowEncoder) -> list[int]:
    assert example.prompt is not None
    task = Task(id=example.where, prompt=example.prompt)
    prompt = encoder.template.render(task, tokenizer=encoder.tokenizer)
    row = RenderedRow(
        prompt=task, prompt_text=prompt.text, completion=completion, has_thought=False
    )
    return encoder.encode(row).input_ids


def _make_trainer(
    config: SftConfig,
    folder: RunFolder,
    rows: list[dict[str, Any]],
    tokenizer: Any,
    *,
    is_pairwise: bool,
) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, PrinterCallback, set_seed
    from trl import RewardConfig, RewardTrainer

    from rlvr.learner.cpu_linear import use_onednn

    is_cpu = not has_gpu()
    arguments = RewardConfig(
        **training_arguments(config, output_dir=folder.checkpoints, is_cpu=is_cpu)
    )
    set_seed(config.seed)  # of the new head
    model = AutoModelForSequenceClassification.from_pretrained(
        config.model,
        num_labels=1,
        dtype=getattr(torch, config.dtype),
        trust_remote_code=config.trust_remote_code,
        pad_token_id=tokenizer.pad_token_id,
    )
    if is_cpu:
        use_onednn(model)
    shared = {"model": model, "args": arguments, "processing_class": tokenizer}
    dataset = Dataset.from_list(rows)
    if is_pairwise:
        trainer = RewardTrainer(train_dataset=dataset, **shared)
    else:
        trainer = _pointwise_trainer(dataset, tokenizer, shared)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _pointwise_trainer(dataset: Any, tokenizer: Any, shared: Mapping[str, Any]) -> Any:
    from transformers import Trainer

    class PointwiseTrainer(Trainer):
        """Labels are probabilities, so a rate of several judges will do as well as yes or no."""

        loss_is_scaled_for_ga = False

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
            labels = inputs.pop("labels")
            logits = model(**inputs).logits.squeeze(-1)
            return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = tokenizer.pad(
            {"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt"
        )
        return {**batch, "labels": torch.tensor([row["label"] for row in rows])}

    shared["args"].remove_unused_columns = False
    return PointwiseTrainer(train_dataset=dataset, data_collator=collate, **shared)
