"""The recipes of R1 and TinyZero: each number of the papers is in its place, what follows from them
adds up, and what a recipe says of memory holds.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from model_shapes import SHAPES, batch_of

from rewards import RewardMix
from rlvr.config import load_config
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.learner.losses import policy_loss
from rlvr.stages.pipeline.pipeline_command import planned_steps
from rlvr.stages.pipeline.pipeline_config import ChainConfig
from rlvr.stages.sample.sample_config import SampleConfig
from rlvr.stages.sft.sft_config import SftConfig

ROOT = Path(__file__).parents[2]
R1 = ROOT / "recipes" / "r1"
STUDENTS = sorted((ROOT / "recipes" / "distill").glob("student_*.yaml"))
ZERO = ["r1_zero_paper", "zero_qwen2.5_32b"]
STAGES = ["reasoning", "all_scenarios"]


def grpo(name: str) -> GrpoConfig:
    return load_config(GrpoConfig, R1 / f"{name}.yaml")


def sft(name: str) -> SftConfig:
    return load_config(SftConfig, R1 / f"{name}.yaml")


def policy_gradient(config: GrpoConfig, ratio: float, advantage: float) -> float:
    """Of a token's loss in its log-prob, with a recipe's clip."""
    logprob = torch.tensor([math.log(ratio) - 1.0], dtype=torch.float64, requires_grad=True)
    terms = policy_loss(
        logprob,
        torch.tensor([-1.0], dtype=torch.float64),
        None,
        advantages=torch.tensor([advantage]),
        weights=torch.tensor([1.0]),
        clip_low=config.loss.clip_low,
        clip_high=config.loss.clip_high,
        beta=0.0,
    )
    return float(torch.autograd.grad(terms.loss, logprob)[0])


@pytest.mark.parametrize("name", [*ZERO, *STAGES])
def test_32_questions_times_16_are_a_batch_and_16_batches_a_rollout(name: str) -> None:
    rollout = grpo(name).rollout
    assert (rollout.tasks_per_step, rollout.group_size, rollout.num_minibatches) == (32, 16, 16)
    assert rollout.tasks_per_step * rollout.group_size == 512
    assert grpo(name).tasks_per_batch * rollout.group_size == 8192
    assert rollout.max_staleness == 0
    # a policy is up to 15 updates ahead of what it learns from
    assert (rollout.max_staleness + 1) * rollout.num_minibatches - 1 == 15


@pytest.mark.parametrize("name", [*ZERO, *STAGES])
def test_the_objective_is_the_papers(name: str) -> None:
    loss = grpo(name).loss
    assert (loss.name, loss.beta, loss.replace_reference_every) == ("grpo", 0.001, 400)
    assert (loss.clip_low, loss.clip_high) == (10.0, 10.0)
    assert 400 / grpo(name).rollout.num_minibatches == 25  # rollouts between replacements


@pytest.mark.parametrize(
    ("name", "lr", "temperature", "num_steps"),
    [
        ("r1_zero_paper", 3e-6, 1.0, 10400),
        ("zero_qwen2.5_32b", 2e-6, 1.0, 10400),
        ("reasoning", 3e-6, 1.0, 2400),  # the paper gives no number of steps
        ("all_scenarios", 3e-6, 0.7, 1700),
    ],
)
def test_rate_temperature_and_steps(
    name: str, lr: float, temperature: float, num_steps: int
) -> None:
    config = grpo(name)
    assert config.learner.lr == lr
    assert config.learner.warmup_steps == 0  # constant
    assert config.rollout.temperature == temperature
    assert config.num_steps == num_steps


def test_r1_zero_takes_650_rollouts() -> None:
    config = grpo("r1_zero_paper")
    assert config.num_steps / config.rollout.num_minibatches == 650
    assert {config.steps_in_batch(step) for step in range(0, 10400, 16)} == {16}


def test_r1_zero_writes_longer_from_the_first_rollout_behind_step_8200_on() -> None:
    rollout = grpo("r1_zero_paper").rollout
    assert (rollout.max_tokens_at(8199), rollout.max_tokens_at(8200)) == (32768, 65536)
    begins = [step for step in range(0, 10400, 16) if rollout.max_tokens_at(step) == 65536]
    assert begins[0] == 8208
    assert rollout.max_model_tokens == 2048 + 65536


@pytest.mark.parametrize("name", [*ZERO, *STAGES])
def test_a_rank_takes_the_longest_row(name: str) -> None:
    config = grpo(name)
    assert config.learner.token_budget >= config.rollout.max_model_tokens


def test_others_write_32768_tokens_throughout() -> None:
    for name in ("zero_qwen2.5_32b", *STAGES):
        rollout = grpo(name).rollout
        assert (rollout.max_tokens, rollout.max_tokens_from) == (32768, {})


def test_with_epsilon_10_only_a_likelier_good_token_is_ever_clipped() -> None:
    config = grpo("r1_zero_paper")
    assert 1 - config.loss.clip_low == -9.0  # no ratio is below it
    assert policy_gradient(config, 5.0, 1.0) == pytest.approx(-5.0)
    assert policy_gradient(config, 10.9, 1.0) == pytest.approx(-10.9)
    assert policy_gradient(config, 12.0, 1.0) == 0.0
    for ratio in (1e-6, 0.5, 5.0, 12.0, 1000.0):
        assert policy_gradient(config, ratio, -1.0) == pytest.approx(ratio)
    assert policy_gradient(config, 1e-6, 1.0) == pytest.approx(-1e-6)


def test_accuracy_and_form_have_the_same_weight() -> None:
    for name in (*ZERO, *STAGES):
        weights = {section.weight for section in grpo(name).rewards.values()}
        assert weights == {1.0}


def test_zero_has_no_language_reward_and_the_stages_of_r1_have_one() -> None:
    for name in ZERO:
        assert "language_consistency" not in grpo(name).rewards
        assert grpo(name).prompt.template == "r1_zero"
    for name in STAGES:
        assert "language_consistency" in grpo(name).rewards


COLUMNS: dict[str, dict[str, Any]] = {
    "math": {"answer": "5"},
    "choice": {"answer": "B"},
    "code": {"tests": "{}"},
    "helpful": {},
    "harmless": {},
}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("math", {"accuracy"}),
        ("choice", {"multiple_choice"}),
        ("code", {"passes_tests"}),
        ("helpful", {"rlvr.reward_models.preference_reward:preference"}),
        ("harmless", {"rlvr.reward_models.preference_reward:harmlessness"}),
    ],
)
def test_in_stage_2_each_kind_has_its_own_judge_beside_form_and_language(
    kind: str, expected: set[str]
) -> None:
    rewards = grpo("all_scenarios").rewards
    common = {"think_format", "language_consistency"}
    called = {name for name, r in rewards.items() if r.only in ({}, {"kind": kind})}
    assert called == expected | common
    mix = RewardMix(
        {n: {"weight": r.weight, "options": r.options, "only": r.only} for n, r in rewards.items()}
    )
    columns = {"kind": kind, "language": "en", **COLUMNS[kind]}
    assert set(mix.columns_for(columns)) <= set(columns)


def test_general_prompts_and_preferences_come_in_for_the_last_400_steps() -> None:
    config = grpo("all_scenarios")
    assert [source.from_step for source in config.more_tasks] == [0, 1300]
    assert config.num_steps - config.more_tasks[1].from_step == 400
    assert (
        config.rewards["rlvr.reward_models.preference_reward:preference"].options["part"]
        == "answer"
    )
    # 106 rollouts of 16 mini-batches and one of 4
    assert divmod(config.num_steps, 16) == (106, 4)
    assert config.steps_in_batch(1696) == 4
    assert config.steps_in_batch(1296) == 16  # its tasks are those of steps 1,296 to 1,311


@pytest.mark.parametrize(("name", "num_epochs"), [("cold_start", 3), ("second_sft", 2)])
def test_supervised_stages_start_from_the_base_with_the_papers_schedule(
    name: str, num_epochs: int
) -> None:
    config = sft(name)
    assert config.model == "Qwen/Qwen2.5-32B"
    assert config.lr == 5e-5
    assert config.lr * config.min_lr_frac == pytest.approx(5e-6)
    assert config.lr_schedule == "cosine_with_min_lr"
    assert (config.max_tokens, batch_of(config), config.num_epochs) == (32768, 128, num_epochs)


def test_the_second_sft_mixes_600_thousand_thoughts_and_200_thousand_others() -> None:
    rows = {source.path: source.num_rows for source in sft("second_sft").sources}
    assert sum(n or 0 for path, n in rows.items() if path.startswith("runs/")) == 600_000
    assert rows["data/sft/general.jsonl"] == 200_000


def test_the_reward_model_has_the_papers_numbers() -> None:
    config = sft("preferences")
    assert (config.head, config.lr, config.num_epochs) == ("scalar", 6e-6, 1)
    assert (batch_of(config), config.max_tokens) == (256, 8192)


def test_cold_data_is_drawn_at_temperature_1_and_right() -> None:
    config = load_config(SampleConfig, R1 / "cold_data.yaml")
    assert (config.rollout.temperature, config.rollout.top_p) == (1.0, 1.0)
    assert config.rewards["accuracy"].weight == 1.0


def test_rejection_drops_what_the_paper_drops() -> None:
    keep = load_config(SampleConfig, R1 / "reasoning_data.yaml").keep
    assert keep.one_language is not None and keep.max_paragraph_chars is not None
    assert keep.code_in_thought is False
    assert keep.ngram == 10


def test_one_gpu_holds_what_its_recipe_adds_up() -> None:
    config = grpo("one_gpu")
    shape = SHAPES["Qwen/Qwen2.5-Math-1.5B"]  # the same as Qwen2.5-1.5B's
    size, budget = shape.num_params, config.learner.token_budget
    learner = 18 * size
    reference = engine = 2 * size
    activations = budget * shape.hidden * (2 * shape.layers + 34)
    logits = 1024 * shape.vocabulary * 10
    cache = config.rollout.kv_cache_gib * 2**30
    total = learner + reference + activations + logits + engine + cache
    assert total == pytest.approx(59.3e9, rel=0.01)
    assert total + 12e9 < 80e9
    cache_bytes = 4 * shape.layers * shape.key_width  # of a token: keys and values, 2 bytes each
    assert cache_bytes == 28_672
    assert cache / cache_bytes / (2048 + 200) == pytest.approx(333, abs=1)
    assert (config.resources.engine_gpus or 0) + (config.resources.learner_gpus or 0) == 1.0
    assert config.rollout.max_model_tokens <= budget


def test_one_gpu_learns_from_half_gsm8k_and_half_math() -> None:
    config = grpo("one_gpu")
    assert (config.tasks.source, [t.source for t in config.more_tasks]) == ("gsm8k", ["math"])
    assert config.tasks.weight == config.more_tasks[0].weight
    assert config.rollout.tasks_per_step * config.rollout.group_size == 512


def test_32b_ranks_hold_shard_reference_and_gathered_weights() -> None:
    config = grpo("zero_qwen2.5_32b")
    size = SHAPES["Qwen/Qwen2.5-32B"].num_params
    shard = 18 * size / config.learner.num_ranks
    assert shard == pytest.approx(9.2e9, rel=0.01)
    assert shard + 2 * size + 2 * size < 150e9  # at a sync; an H200 has 139 GiB
    cache_bytes = 4 * 64 * 1024 / config.rollout.tensor_parallel
    assert config.rollout.kv_cache_gib * 2**30 / cache_bytes == pytest.approx(1.05e6, rel=0.01)


def test_the_laptops_recipe_is_the_papers_with_smaller_numbers() -> None:
    small, paper = grpo("laptop"), grpo("r1_zero_paper")
    assert small.loss.model_copy(update={"replace_reference_every": 400}) == paper.loss
    assert small.tasks_per_batch * small.rollout.group_size == 512
    assert small.rollout.tasks_per_step * small.rollout.group_size == 128
    assert small.num_steps % small.rollout.num_minibatches == 0


def test_tinyzero_scores_and_batches_as_its_readme() -> None:
    config = load_config(GrpoConfig, ROOT / "recipes" / "countdown" / "tinyzero.yaml")
    rollout = config.rollout
    assert config.tasks_per_batch * rollout.group_size == 256
    assert rollout.tasks_per_step * rollout.group_size == 64
    assert (rollout.max_tokens, config.loss.beta, config.learner.lr) == (1024, 0.001, 1e-6)
    assert (config.tasks.split, config.eval.tasks and config.eval.tasks.split) == (
        "train[:327680]",
        "train[327680:328704]",  # 1,024
    )
    mix = RewardMix(
        {name: {"weight": r.weight, "options": r.options} for name, r in config.rewards.items()}
    )
    texts = [
        "try 1 + 2</think><answer>(1 + 2) / 3</answer>",
        "try 1 + 2</think><answer>1 + 2 + 3</answer>",
        "(1 + 2) / 3",
        "try 1 + 2</think><answer>1 ** 3 / 2</answer>",
    ]
    columns: dict[str, list[Any]] = {"numbers": [[1, 2, 3]] * 4, "target": [1] * 4}
    scores = [result.value for result in mix.grade(texts, columns, think_prefilled=True)]
    assert scores == pytest.approx([1.0, 0.1, 0.0, 0.1])


def test_the_chain_of_r1_goes_from_base_to_student(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    steps = planned_steps(load_config(ChainConfig, R1 / "r1.yaml"))
    order = [step.name for step in steps if not step.name.startswith("eval")]
    assert order == [
        *("zero", "cold_data", "cold_refined", "cold_start", "reasoning", "reasoning_data"),
        *("program_data", "second_sft", "preferences", "safety", "r1", "student", "table"),
    ]
    by_name = {step.name: step.config for step in steps}
    r1, student = by_name["r1"], by_name["student"]
    assert isinstance(r1, GrpoConfig) and isinstance(student, SftConfig)
    assert r1.model.path == "runs/r1-second-sft/model"
    assert r1.rewards["rlvr.reward_models.preference_reward:harmlessness"].options == {
        "model": "runs/r1-safety/model"
    }
    second = by_name["second_sft"]
    assert isinstance(second, SftConfig)
    assert student.sources == second.sources  # the same 800,000 rows


def test_every_recipe_says_what_it_costs_and_whose_number_that_is() -> None:
    for path in [*STUDENTS, *R1.glob("*.yaml")]:
        head = path.read_text(encoding="utf-8").partition("\nstage:")[0]
        if path.stem not in ("laptop", "r1", "table"):
            assert "ost (estimate" in head or "cost, paper" in head or "Time, estimate" in head, (
                path
            )
        if path in STUDENTS or path.stem in (*ZERO, *STAGES):
            assert "Result, paper" in head, path
