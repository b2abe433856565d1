"""Complete runs of `rlvr sft`: interrupted, on DeepSpeed, on several ranks, and their results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from sft_runs import TEMPLATE, config_of, metrics, sums, trained, write_rows

from rlvr.run.run_folder import RunFolder, read_json
from rlvr.stages.sft.examples import reasoning_of
from rlvr.stages.sft.sft_config import SftConfig

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "rlvr", "sft"]


def start(config: SftConfig, tmp_path: Path) -> subprocess.Popen[str]:
    """Start the command in its own process."""
    recipe = tmp_path / f"{config.name}.yaml"
    recipe.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    return subprocess.Popen(
        [*COMMAND, str(recipe)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def run_to_the_end(config: SftConfig, tmp_path: Path) -> str:
    process = start(config, tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def wait_for_step(folder: RunFolder, step: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 200
    while not folder.metrics.exists() or len(folder.metrics.read_text().splitlines()) < step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "no steps"
        time.sleep(0.02)


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.model / "model.safetensors")


def losses(folder: RunFolder) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in metrics(folder)}


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_rows(tmp_path / "rows.jsonl", sums(60))


def test_a_run_that_was_stopped_and_killed_ends_as_one_that_was_not(
    tiny_model: Path, data: str, tmp_path: Path
) -> None:
    values: dict[str, Any] = {
        "max_steps": 150,
        "matrix_lr": 1e-2,
        "checkpoint": {"every_steps": 40, "keep": 1},
        "domains": {"column": "content", "temperature": 2.0},
    }
    whole = trained(config_of(tiny_model, data, tmp_path, name="whole", **values))
    config = config_of(tiny_model, data, tmp_path, name="parts", **values)
    parts = RunFolder(config.run_dir)

    process = start(config, tmp_path)
    wait_for_step(parts, 10, process)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=100)[1]
    assert process.returncode == 1
    stopped = len(metrics(parts))
    assert f"stopped after step {stopped}, saved in a checkpoint" in err
    assert "Traceback" not in err

    process = start(config, tmp_path)
    wait_for_step(parts, 90, process)
    process.kill()
    process.communicate()
    assert not parts.summary.exists()
    half = parts.checkpoints / "checkpoint-149"  # as a kill in the middle of writing leaves it
    half.mkdir()
    (half / "trainer_state.json").write_text("{", encoding="utf-8")

    out = run_to_the_end(config, tmp_path)
    assert "resumes after step 80" in out
    assert not half.exists()
    assert losses(parts) == losses(whole)
    steps = [line["step"] for line in metrics(parts)]
    assert steps == list(range(1, 151))
    before, after = weights(whole), weights(parts)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert read_json(whole.summary) == read_json(parts.summary)

    out = run_to_the_end(config, tmp_path)
    assert "This run is finished" in out


@pytest.mark.parametrize(
    "section",
    [
        {"zero_stage": 0},
        {"zero_stage": 2, "offload_optimizer": True},
        {"zero_stage": 3, "offload_optimizer": True, "offload_param": True},
    ],
    ids=["zero0", "zero2-offload", "zero3-offload"],
)
def test_deepspeed_takes_the_same_steps(
    tiny_model: Path, data: str, tmp_path: Path, section: dict[str, Any]
) -> None:
    plain = trained(config_of(tiny_model, data, tmp_path, name="plain", max_steps=6))
    config = config_of(tiny_model, data, tmp_path, name="ds", max_steps=6, deepspeed=section)
    run_to_the_end(config, tmp_path)
    folder = RunFolder(config.run_dir)
    assert losses(folder) == pytest.approx(losses(plain), rel=1e-4)
    rates = [line["learning_rate"] for line in metrics(folder)]
    assert rates == pytest.approx([line["learning_rate"] for line in metrics(plain)])
    made, wanted = weights(folder), weights(plain)
    assert made.keys() == wanted.keys()
    assert max((made[n] - wanted[n]).abs().max().item() for n in made) < 1e-3


@pytest.mark.parametrize(
    "values",
    [
        {"num_ranks": 2, "deepspeed": {"zero_stage": 2}},
        {"cpu_ranks": 2, "batch_size": 8},
    ],
    ids=["deepspeed", "cpu_ranks"],
)
def test_two_ranks_do_what_one_does_with_twice_the_rows(
    tiny_model: Path, data: str, tmp_path: Path, values: dict[str, Any]
) -> None:
    one = trained(config_of(tiny_model, data, tmp_path, name="one", max_steps=6, batch_size=8))
    config = config_of(tiny_model, data, tmp_path, name="two", max_steps=6, **values)
    run_to_the_end(config, tmp_path)
    two = RunFolder(config.run_dir)
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    assert (two.model / "tokenizer.json").exists()


def test_fifty_traces_teach_a_student_to_think(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = sums(50)

    def think_rate(folder: Path) -> float:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        texts = [TEMPLATE.format(prompt=row["prompt"]) for row in rows]
        batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")
        written = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=24,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )[:, batch["input_ids"].shape[1] :]
        answers = tokenizer.batch_decode(written)
        return sum("</think>" in a and bool(reasoning_of(a)) for a in answers) / len(answers)

    assert think_rate(tiny_model) == 0.0
    data = write_rows(tmp_path / "rows.jsonl", rows)
    values: dict[str, Any] = {"matrix_lr": 2e-2, "lr": 3e-3, "num_epochs": 20, "batch_size": 10}
    folder = trained(config_of(tiny_model, data, tmp_path, **values))
    assert think_rate(folder.model) > 0.9


def test_an_adapter_is_trained_on_with_a_replay_of_its_old_rows(
    tiny_model: Path, data: str, tmp_path: Path
) -> None:
    lora: dict[str, Any] = {"lora": {}, "lr": 1e-2, "max_steps": 30, "batch_size": 8}
    first = trained(config_of(tiny_model, data, tmp_path, name="first", **lora))
    new = [{"prompt": f"{i}*1", "completion": f" {i}"} for i in range(60)]
    mixture = [
        {"path": write_rows(tmp_path / "new.jsonl", new), "weight": 3},
        {"path": data, "weight": 1},
    ]
    again = {**lora, "resume_from": str(first.path), "num_rows": 80}
    second = trained(config_of(tiny_model, mixture, tmp_path, name="second", **again))
    manifest = read_json(second.manifest)
    assert list(manifest["counts"]["by_source"].values()) == [60, 20]
    assert manifest["inputs"]["resume_from"]["path"] == str(first.path / "adapter")
    start_over = trained(
        config_of(tiny_model, data, tmp_path, name="third", **{**lora, "max_steps": 1})
    )
    on_old = trained(
        config_of(
            tiny_model, data, tmp_path, name="fourth",
            **{**lora, "max_steps": 1, "resume_from": str(first.path)},
        )
    )  # fmt: skip
    assert losses(on_old)[1] < 0.8 * losses(start_over)[1]


@pytest.mark.parametrize("pairwise", [True, False])
def test_a_reward_model_learns_a_planted_preference(
    tiny_model: Path, tmp_path: Path, pairwise: bool
) -> None:
    """Preferred completions end in another word."""
    from rlvr.reward_models.preference_reward import score

    rows: list[dict[str, Any]] = []
    for row in sums(100):
        good, bad = f" {row['content']} so good", f" {row['content']} so bad"
        if pairwise:
            rows.append({"prompt": row["prompt"], "chosen": good, "rejected": bad})
        else:
            rows.append({"prompt": row["prompt"], "completion": good, "label": 1})
            rows.append({"prompt": row["prompt"], "completion": bad, "label": 0})
    data = write_rows(tmp_path / "rows.jsonl", rows[:-20])
    values: dict[str, Any] = {"head": "scalar", "num_epochs": 3, "batch_size": 8, "lr": 3e-3}
    folder = trained(config_of(tiny_model, data, tmp_path, **values))
    held_out = [TEMPLATE.format(prompt=row["prompt"]) for row in rows[-20:]]
    good = score(str(folder.model), [f"{text} 7 so good" for text in held_out])
    bad = score(str(folder.model), [f"{text} 7 so bad" for text in held_out])
    assert sum(a > b for a, b in zip(good, bad, strict=True)) >= 19
    assert json.loads((folder.model / "config.json").read_text())["architectures"] == [
        "Qwen3ForSequenceClassification"
    ]
