"""The recipes of distillation's students: the paper's numbers, on GPUs that hold them."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_shapes import SHAPES, batch_of

from rlvr.config import load_config
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_plan import make_plan
from rlvr.stages.sft.training_memory import training_bytes

ROOT = Path(__file__).parents[3]
R1 = ROOT / "recipes" / "r1"
STUDENTS = sorted((ROOT / "recipes" / "distill").glob("student_*.yaml"))

RATES = {
    "Qwen/Qwen2.5-Math-1.5B": 1e-4,
    "Qwen/Qwen2.5-Math-7B": 8e-5,
    "Qwen/Qwen2.5-14B": 7e-5,
    "Qwen/Qwen2.5-32B": 6e-5,
    "meta-llama/Llama-3.1-8B": 5e-5,
    "meta-llama/Llama-3.3-70B-Instruct": 2e-5,
    "Qwen/Qwen3-8B-Base": 8e-5,  # not in the paper; as for the 7B
}


def test_every_student_of_the_paper_has_a_recipe() -> None:
    assert {load_config(SftConfig, path).model for path in STUDENTS} == set(RATES)


@pytest.mark.parametrize("path", STUDENTS, ids=lambda path: path.stem)
def test_a_student_learns_by_the_papers_numbers(path: Path) -> None:
    config = load_config(SftConfig, path)
    assert config.lr == RATES[config.model]
    assert (config.lr_schedule, config.min_lr_frac) == ("cosine_with_min_lr", 0.1)
    assert (config.max_tokens, batch_of(config)) == (32768, 64)
    assert 2 <= (config.num_epochs or 0) <= 3
    assert config.max_steps is None


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen/Qwen2.5-Math-1.5B", 1.54e9),
        ("Qwen/Qwen2.5-Math-7B", 7.61e9),
        ("Qwen/Qwen2.5-14B", 14.7e9),
        ("Qwen/Qwen2.5-32B", 32.5e9),
        ("meta-llama/Llama-3.1-8B", 8.03e9),
        ("meta-llama/Llama-3.3-70B-Instruct", 70.6e9),
        ("Qwen/Qwen3-8B-Base", 8.2e9),
    ],
)
def test_the_shapes_give_the_sizes_that_the_models_are_named_by(name: str, size: float) -> None:
    assert SHAPES[name].num_params == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize("path", [*STUDENTS, R1 / "cold_start.yaml"], ids=lambda path: path.stem)
def test_supervised_recipes_fit_the_gpus_that_they_name(path: Path) -> None:
    config = load_config(SftConfig, path)
    plan = make_plan(config, is_cpu=False)
    assert plan.gradient_checkpointing
    needed = training_bytes(plan, SHAPES[config.model], row_tokens=32768)
    gpu = 141e9 if "8 x 141 GB" in path.read_text(encoding="utf-8") else 80e9
    assert "8 x 141 GB" in path.read_text(encoding="utf-8") or "8 x 80 GB" in path.read_text(
        encoding="utf-8"
    )
    assert needed < 0.9 * gpu, f"{needed / 1e9:.0f} GB"
