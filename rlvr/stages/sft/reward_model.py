"""Training of a reward model: one number for a prompt with its completion.

chosen, rejected     -log sigmoid(r(chosen) - r(rejected))         Bradley-Terry, as in TRL
completion, label    cross-entropy of sigmoid(r) against label     pointwise

The text is the rendered prompt, then the completion with its end token, as an engine generates it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder
from rlvr.stages.sft.examples import Example, chosen_examples
from rlvr.stages.sft.row_encoding import RenderedRow, RowEncoder
from rlvr.stages.sft.sft_plan import SftPlan
from rlvr.stages.sft.trainer_run import train_and_save
from rlvr.stages.sft.training import add_counts, load_tokenizer, training_arguments
from rlvr.types import Task

__all__ = ["train_reward_model"]


def train_reward_model(plan: SftPlan, folder: RunFolder, *, rank: int) -> None:
    """Train and leave model/, for AutoModelForSequenceClassification and `rlvr.reward_models`."""
    tokenizer = load_tokenizer(plan)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows, num_long = _token_rows(plan, tokenizer)
    if rank == 0:
        add_counts(folder, {"num_rows": len(rows), "num_too_long": num_long})
        if num_long:
            print(f"warning: max_tokens: {plan.config.max_tokens}: {num_long} longer rows dropped")
    is_pairwise = "chosen_ids" in rows[0]
    trainer = _make_trainer(plan, folder, rows, tokenizer)
    summary = {"head": "scalar", "pairwise": is_pairwise, "num_rows": len(rows)}
    train_and_save(trainer, plan, folder, result=folder.model, summary=summary, is_main=rank == 0)


def _token_rows(plan: SftPlan, tokenizer: Any) -> tuple[list[dict[str, Any]], int]:
    """Return the rows as ids, and the number of those that are too long."""
    config = plan.config.model_copy(update={"too_long": "drop"})
    encoder = RowEncoder(replace(plan, config=config), tokenizer)
    rows: list[dict[str, Any]] = []
    num_long = 0
    for _, example in chosen_examples(plan):
        row = _token_row(example, encoder)
        if rows and row.keys() != rows[0].keys():
            raise ConfigError(f"{example.where}: rows with chosen and rows with label do not mix")
        if all(ids for name, ids in row.items() if name.endswith("ids")):
            rows.append(row)
        else:
            num_long += 1
    if not rows:
        raise ConfigError(
            f"data: {plan.title} has no row of at most {plan.config.max_tokens} tokens"
        )
    return rows, num_long


def _token_row(example: Example, encoder: RowEncoder) -> dict[str, Any]:
    assert example.prompt is not None
    task = Task(id=example.where, prompt=example.prompt)
    prompt = encoder.plan.template.render(task, tokenizer=encoder.tokenizer).text

    def ids(completion: str) -> list[int]:
        row = RenderedRow(prompt=task, prompt_text=prompt, completion=completion, has_thought=False)
        return encoder.encode(row).input_ids

    columns = example.columns
    if "chosen" in columns:
        return {"chosen_ids": ids(columns["chosen"]), "rejected_ids": ids(columns["rejected"])}
    return {"input_ids": ids(example.completion), "label": float(columns["label"])}


def _make_trainer(
    plan: SftPlan, folder: RunFolder, rows: list[dict[str, Any]], tokenizer: Any
) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, PrinterCallback, set_seed
    from trl import RewardConfig, RewardTrainer

    from rlvr.learner.cpu_linear import use_onednn

    arguments = RewardConfig(**training_arguments(plan, output_dir=folder.checkpoints))
    set_seed(plan.config.seed)  # for the new head
    model = AutoModelForSequenceClassification.from_pretrained(
        plan.weights,
        num_labels=1,
        dtype=getattr(torch, plan.config.dtype),
        trust_remote_code=plan.config.trust_remote_code,
        pad_token_id=tokenizer.pad_token_id,
    )
    if plan.is_cpu:
        use_onednn(model)
    shared = {
        "model": model,
        "args": arguments,
        "processing_class": tokenizer,
        "train_dataset": Dataset.from_list(rows),
    }
    if "chosen_ids" in rows[0]:
        trainer = RewardTrainer(**shared)
    else:
        trainer = _pointwise_trainer(tokenizer, shared)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _pointwise_trainer(tokenizer: Any, shared: Mapping[str, Any]) -> Any:
    from transformers import Trainer

    class PointwiseTrainer(Trainer):
        """Labels are probabilities: yes or no, or the share of several judges."""

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
    return PointwiseTrainer(data_collator=collate, **shared)
