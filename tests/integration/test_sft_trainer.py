"""Numbers of the trainer on a tiny model: gradients, packing, adapters, schedules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sft_runs import a_trainer, config_of, metrics, sums, trained, write_rows

from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import LoraSection
from rlvr.stages.sft.training_memory import model_shape, num_lora_params


def gradient(config: Any, num_rows: int) -> tuple[float, torch.Tensor]:
    """Loss and gradient of the first step: its batches in a row, as the trainer takes them."""
    with a_trainer(config) as trainer:
        step = config.gradient_accumulation
        rows = [trainer.train_dataset[i] for i in range(num_rows)]
        size = num_rows // step
        batches = [trainer.data_collator(rows[i * size : (i + 1) * size]) for i in range(step)]
        count = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
        trainer.current_gradient_accumulation_steps = step
        trainer.model.train()
        loss = 0.0
        for batch in batches:
            part = trainer.compute_loss(trainer.model, batch, num_items_in_batch=count)
            part.backward()
            loss += part.item()
        grads = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    return loss, torch.cat(grads)


@pytest.fixture
def data(tmp_path: Path) -> str:
    rows = sums(8)
    for i, row in enumerate(rows):
        row["content"] = "1" * (3 * i + 1)  # of different lengths
    return write_rows(tmp_path / "rows.jsonl", rows)


def test_accumulated_batches_have_the_gradient_of_one(
    tiny_model: Path, data: str, tmp_path: Path
) -> None:
    whole = gradient(config_of(tiny_model, data, tmp_path / "a", batch_size=8), 8)
    four = config_of(tiny_model, data, tmp_path / "b", batch_size=2, gradient_accumulation=4)
    parts = gradient(four, 8)
    assert parts[0] == pytest.approx(whole[0], abs=1e-5)
    assert (parts[1] - whole[1]).abs().max() < 1e-5


def test_recomputed_activations_change_nothing(tiny_model: Path, data: str, tmp_path: Path) -> None:
    plain = gradient(config_of(tiny_model, data, tmp_path / "a"), 8)
    config = config_of(tiny_model, data, tmp_path / "b", gradient_checkpointing=True)
    again = gradient(config, 8)
    assert again[0] == pytest.approx(plain[0], abs=1e-5)
    assert (again[1] - plain[1]).abs().max() < 1e-5


def test_rows_that_are_packed_do_not_see_each_other(
    tiny_model: Path, data: str, tmp_path: Path
) -> None:
    """The loss and gradient of packed rows equal those of separate rows."""
    alone = gradient(config_of(tiny_model, data, tmp_path / "a", batch_size=8), 8)
    config = config_of(tiny_model, data, tmp_path / "b", packing=True, batch_size=8)
    with a_trainer(config) as trainer:
        num_packed = len(trainer.train_dataset)
        assert num_packed < 8
        assert max(len(lengths) for lengths in trainer.train_dataset["seq_lengths"]) > 1
    packed = gradient(config, num_packed)
    assert packed[0] == pytest.approx(alone[0], abs=1e-5)
    assert (packed[1] - alone[1]).abs().max() < 1e-5


def test_label_smoothing_of_the_trainer_is_the_formula(
    tiny_model: Path, data: str, tmp_path: Path
) -> None:
    config = config_of(tiny_model, data, tmp_path, label_smoothing=0.1)
    with a_trainer(config) as trainer:
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
        labels = batch["labels"].clone()
        loss = trainer.compute_loss(trainer.model.eval(), batch).item()
        with torch.no_grad():
            logp = trainer.model(**batch).logits[:, :-1].log_softmax(-1)
    total, count = 0.0, 0
    for row, targets in zip(logp, labels[:, 1:], strict=True):
        for place, target in zip(row, targets.tolist(), strict=True):
            if target != -100:
                total += 0.9 * -place[target].item() + 0.1 * -place.mean().item()
                count += 1
    assert loss == pytest.approx(total / count, rel=1e-4)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it(
    tiny_model: Path, data: str, tmp_path: Path
) -> None:
    config = config_of(tiny_model, data, tmp_path, distill={"model": str(tiny_model), "alpha": 1.0})
    loss, grad = gradient(config, 8)
    assert abs(loss) < 1e-6
    assert grad.abs().max() < 1e-5


def test_a_teacher_with_another_tokenizer_is_refused(
    tiny_model: Path, data: str, tmp_path: Path
) -> None:
    from rlvr.toy.toy_model import make_model, make_tokenizer

    other = make_tokenizer(vocab_size=400)
    make_model(other, hidden_size=32, num_layers=1, num_heads=2).save_pretrained(tmp_path / "t")
    other.save_pretrained(tmp_path / "t")
    config = config_of(tiny_model, data, tmp_path, distill={"model": str(tmp_path / "t")})
    with pytest.raises(ConfigError, match="has another tokenizer than"), a_trainer(config):
        pass


def test_the_default_adapters_are_on_seven_layers_with_as_many_parameters_as_the_formula(
    tiny_model: Path, data: str, tmp_path: Path
) -> None:
    with a_trainer(config_of(tiny_model, data, tmp_path, lora={})) as trainer:
        adapters = {n: p.numel() for n, p in trainer.model.named_parameters() if p.requires_grad}
        names = {name.partition(".lora_")[0].rpartition(".")[2] for name in adapters}
        count = sum(adapters.values())
        lora = trainer.model.peft_config["default"]
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert names == set(targets) == set(lora.target_modules)
    assert (lora.r, lora.lora_alpha, lora.lora_dropout, lora.bias) == (16, 16, 0.0, "none")
    assert not lora.use_rslora
    assert not lora.loftq_config
    shape = model_shape(str(tiny_model))
    assert shape is not None
    assert count == num_lora_params(shape, LoraSection())


def test_adapters_on_some_layers_only(tiny_model: Path, data: str, tmp_path: Path) -> None:
    config = config_of(tiny_model, data, tmp_path, lora={"layers_to_transform": [1]})
    with a_trainer(config) as trainer:
        trained_names = [n for n, p in trainer.model.named_parameters() if p.requires_grad]
    assert trained_names
    assert all(".layers.1." in name for name in trained_names)


def test_four_bits_need_a_gpu(tiny_model: Path, data: str, tmp_path: Path) -> None:
    config = config_of(tiny_model, data, tmp_path, load_in_4bit=True, lora={})
    with pytest.raises(ConfigError, match="load_in_4bit: true needs an NVIDIA GPU, and this"):
        trained(config)


def test_sixty_steps_of_the_medical_preset(tiny_model: Path, tmp_path: Path) -> None:
    """Its schedule, and that the loss goes down; without four bits, which a CPU does not have."""
    data = write_rows(tmp_path / "rows.jsonl", sums(40))
    config = config_of(
        tiny_model, data, tmp_path, preset="medical_qlora", load_in_4bit=False, dtype="float32",
        log_steps=1, lr=2e-4, batch_size=2,
    )  # fmt: skip
    assert (config.gradient_accumulation, config.max_steps, config.warmup_steps) == (4, 60, 5)
    folder = trained(config)
    lines = metrics(folder)
    assert [line["step"] for line in lines] == list(range(1, 61))
    rates = [line["learning_rate"] for line in lines]
    # a line has the rate that its step was made with: after n - 1 moves of the schedule
    assert rates[4] == pytest.approx(2e-4 * 4 / 5)
    assert rates[5] == pytest.approx(2e-4)
    assert rates[59] == pytest.approx(2e-4 * 1 / 55)
    losses = [line["loss"] for line in lines]
    assert sum(losses[-10:]) < sum(losses[:10])
    assert (folder.path / "adapter" / "adapter_model.safetensors").exists()
    assert json.loads(folder.summary.read_text())["num_steps"] == 60
