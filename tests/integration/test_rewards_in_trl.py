"""The reward functions in TRL's own GRPOTrainer, as they are."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewards import accuracy, language_consistency, passes_tests, think_format

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trl import GRPOConfig, GRPOTrainer

TESTS = '{"cases": [{"input": "", "output": "5"}]}'
FUNCTIONS = (accuracy, think_format, language_consistency, passes_tests)


@pytest.mark.filterwarnings("ignore")
def test_grpo_trainer_takes_them_as_they_are(tiny_model: Path, tmp_path: Path) -> None:
    rows = {"prompt": "User: 2+3\nAssistant:", "answer": "5", "language": "en", "tests": TESTS}
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        processing_class=AutoTokenizer.from_pretrained(tiny_model, padding_side="left"),
        reward_funcs=list(FUNCTIONS),
        train_dataset=Dataset.from_list([rows] * 2),
        args=GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=8,
            max_steps=1,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
    )
    trainer.train()
    logged = trainer.state.log_history[0]
    for function in FUNCTIONS:
        assert 0.0 <= logged[f"rewards/{function.__name__}/mean"] <= 1.0
