"""Data of evaluations: presets of model families, sample problems, recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rewards import grade_accuracy
from rlvr.config import load_config
from rlvr.data.inputs import open_section
from rlvr.errors import ConfigError
from rlvr.evaluation.eval_config import CompareConfig, EvaluateConfig
from rlvr.evaluation.presets import known_models, preset_of
from rlvr.evaluation.text_metrics import key_point_coverage

ROOT = Path(__file__).parents[3]
RECIPES = ROOT / "recipes/eval"


@pytest.mark.parametrize(
    ("model", "family", "kind", "thinking"),
    [
        ("Qwen/Qwen3-8B", "Qwen3", "reasoning", "switch"),
        ("Qwen/Qwen3-30B-A3B-FP8", "Qwen3", "reasoning", "switch"),
        ("Qwen/Qwen3-8B-Base", "Qwen3 base", "base", "prompted"),
        ("Qwen/Qwen2.5-Math-1.5B", "Qwen2.5 base", "base", "prompted"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5 instruct", "chat", "never"),
        ("meta-llama/Llama-3.1-8B", "Llama base", "base", "prompted"),
        ("meta-llama/Llama-3.3-70B-Instruct", "Llama instruct", "chat", "never"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "DeepSeek-R1-Distill", "reasoning", "always"),
    ],
)
def test_a_model_has_the_preset_of_its_family(
    model: str, family: str, kind: str, thinking: str
) -> None:
    preset = preset_of(model)
    assert (preset.name, preset.kind, preset.thinking) == (family, kind, thinking)


def test_every_listed_model_has_a_preset_and_qwen3_is_complete() -> None:
    assert all(preset_of(model) for model in known_models())
    assert sum(model.startswith("Qwen/Qwen3-") for model in known_models()) == 22


def test_a_preset_is_a_list_of_overrides(tmp_path: Path) -> None:
    overrides = preset_of("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B").overrides
    config = load_config(EvaluateConfig, RECIPES / "toy.yaml", overrides)
    assert (config.prompt.template, config.prompt.prefill) == ("chat", "<think>\n")
    assert (config.prompt.answer_style, config.rollout.temperature) == ("r1", 0.6)
    overrides = preset_of("Qwen/Qwen2.5-7B-Instruct").overrides
    config = load_config(EvaluateConfig, RECIPES / "toy.yaml", overrides)
    assert (config.prompt.prefill, config.rollout.top_p) == ("", 0.8)


def test_a_model_of_no_known_family_has_none() -> None:
    with pytest.raises(ConfigError, match="no preset for 'gpt2'; known are DeepSeek-R1-Distill"):
        preset_of("gpt2")


@pytest.mark.parametrize("suite", ["clean", "noisy"])
def test_the_samples_have_golds_that_earn_full_reward(
    suite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(EvaluateConfig, RECIPES / "samples.yaml")
    source = open_section(config.suites[suite].tasks, section="tasks", seed=0)
    assert source.num_tasks == 20
    tasks = [source.task(i) for i in range(20)]
    assert [task.columns["language"] for task in tasks].count("zh") == 10
    for task in tasks:
        gold = task.columns["answer"]
        completion = rf"<think>So.</think>\boxed{{{gold}}}"
        assert grade_accuracy(completion, gold, worked_out=True).value == 1.0
        assert key_point_coverage(completion, task.columns["key_points"])  # valid patterns


def test_a_train_at_60_mph_covers_180_miles_in_3_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(EvaluateConfig, RECIPES / "samples.yaml")
    task = open_section(config.suites["clean"].tasks, section="tasks", seed=0).task(0)
    assert "60 mph for 3 hours" in str(task.prompt) and task.columns["answer"] == "180"
    thought = r"We have 60 \times 3 = 180 miles."
    assert key_point_coverage(thought, task.columns["key_points"]) == 1.0


def test_a_noisy_sample_is_its_clean_one_with_a_distractor() -> None:
    clean, noisy = (
        (RECIPES / name).read_text(encoding="utf-8").splitlines()
        for name in ("samples.jsonl", "samples_noisy.jsonl")
    )
    for plain, distracted in zip(clean, noisy, strict=True):
        one, other = yaml.safe_load(plain), yaml.safe_load(distracted)
        assert other["prompt"].endswith(one["prompt"]) and len(other["prompt"]) > len(one["prompt"])
        assert other["answer"] == one["answer"]


def test_the_papers_protocol_is_a_recipe() -> None:
    config = load_config(EvaluateConfig, RECIPES / "r1_protocol.yaml")
    assert (config.rollout.temperature, config.rollout.top_p) == (0.6, 0.95)
    assert config.rollout.max_tokens == 32_768
    samples = {name: suite.samples for name, suite in config.suites.items()}
    assert samples == {"aime24": 64, "math500": 16, "gpqa": 64, "livecodebench": 8}


def test_before_and_after_is_a_recipe() -> None:
    config = load_config(CompareConfig, RECIPES / "compare.yaml")
    assert list(config.folders) == ["base", "GRPO"]
