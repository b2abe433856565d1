"""The recipes of distillation: their settings follow their sources, and their prompts render."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.config.loading import load_config
from rlvr.errors import ConfigError
from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.stages.distill.distill_stage import check_distill
from rlvr.stages.distill.row_scores import read_label
from rlvr.teacher.teacher_prompts import make_prompt
from rlvr.types import Task

RECIPES = Path(__file__).parents[3] / "recipes" / "distill"


def load(name: str, *overrides: str) -> DistillConfig:
    return load_config(DistillConfig, RECIPES / f"{name}.yaml", overrides)


def test_math_prompts_and_sampling_follow_the_data_set() -> None:
    config = load("math_r1")
    assert config.teacher is not None and config.scoring.judge is not None
    assert (config.sampling.temperature, config.sampling.max_tokens) == (0.6, 32768)
    assert sum(one.concurrency for one in config.teacher.endpoints) == 300
    assert config.prompt.system is None
    task = Task(id="math/1", prompt="What is 2+3?")
    assert make_prompt(config.prompt).render(task) == [
        {
            "role": "user",
            "content": "What is 2+3?\nPlease reason step by step, and put your final answer within "
            "\\boxed{}.",
        }
    ]
    assert config.prompt.prefill == "<think>\n"
    assert config.scoring.judge.endpoints[0].model == "Qwen/Qwen2.5-72B-Instruct"
    assert config.scoring.judge.sampling.temperature == 0.0


def test_the_labels_of_the_news_are_those_of_its_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headlines = tmp_path / "headlines.txt"
    headlines.write_text("股市上涨\n中国队夺冠\n", encoding="utf-8")
    config = load("news_labels", f"tasks.path={headlines}")
    assert all(label in config.prompt.user for label in config.labels)
    assert read_label("**股票**", config.labels) == "股票"
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="does not hold DEEPSEEK_API_KEY; export DEEPSEEK_API"):
        check_distill(config)
    for name in ("DEEPSEEK_API_KEY", "DASHSCOPE_API_KEY"):
        monkeypatch.setenv(name, "sk-x")
    inputs = check_distill(config)
    assert inputs.tasks is not None and inputs.tasks.num_tasks == 2


def test_medical_answers_are_verified_by_the_judge_alone() -> None:
    config = load("medical_verify")
    assert (config.verify, config.verify_attempts, config.scoring.rules) == (True, 4, [])
    assert config.filter.min_score == 10
