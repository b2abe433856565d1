"""Metrics of rows with values worked out by hand, majority votes, and checks of recipes."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from model_folders import write_model

from rlvr.config import load_config
from rlvr.errors import ConfigError
from rlvr.evaluation.eval_config import EvaluateConfig
from rlvr.evaluation.selection import clusters_of, most_voted, stated_answer
from rlvr.evaluation.suite_metrics import make_summary, robustness_drop, summarize_rows
from rlvr.evaluation.suites import SUITE, check_eval, with_suffix
from rlvr.types import Task


def row(task: str, sample: int, answer: str | None, *, right: bool = False, **more: Any) -> Any:
    """A completion with `answer` after its reasoning."""
    stated = "I give up" if answer is None else rf"<answer>\boxed{{{answer}}}</answer>"
    plain = {
        "id": task,
        "suite": "math",
        "strategy": "plain",
        "sample_index": sample,
        "prompt": "What is 1/4 + 1/4?",
        "answer": "1/2",
        "language": "en",
        "reasoning_content": "a quarter twice",
        "content": stated,
        "completion": f"<think>a quarter twice</think>{stated}",
        "think_prefilled": False,
        "scores": {"accuracy": float(right)},
        "is_right": right,
        "num_tokens": 10,
        "thought_tokens": 4,
        "answer_tokens": 5,
        "finish_reason": "stop",
        "budget_closed": False,
        "seconds": 0.5,
    }
    return plain | more


def summary_of(*rows: Any) -> dict[str, Any]:
    return summarize_rows(rows, correct_by="accuracy", profile="zero")


def test_answers_vote_by_value() -> None:
    clusters = clusters_of(["3", "2/4", "1/2", "0.5", None])
    assert [(c.value, c.members) for c in clusters] == [("3", (0,)), ("1/2", (1, 2, 3))]
    winner = most_voted(clusters)
    assert winner is not None and winner.value == "1/2"


def test_formulas_that_are_equal_are_one_answer() -> None:
    clusters = clusters_of(["(x+1)^2", "x^2+2x+1", "x", r"\sqrt{4}", "2", "(x+1)^2"])
    assert [c.members for c in clusters] == [(0, 1, 5), (2,), (3, 4)]


def test_of_equally_many_votes_the_first_answer_wins() -> None:
    winner = most_voted(clusters_of([None, "7", "8", "8", "7"]))
    assert winner is not None and winner.value == "7"
    assert most_voted(clusters_of([None, None])) is None


def test_a_weighted_vote_adds_scores_up() -> None:
    clusters = clusters_of(["7", "7", "8"])
    winner = most_voted(clusters, weights={0: 0.1, 1: 0.2, 2: 0.9})
    assert winner is not None and winner.value == "8"


@pytest.mark.parametrize(
    ("text", "is_choice", "answer"),
    [
        (r"<think>\boxed{1}</think>\boxed{2}", False, "2"),
        ("<think>a</think><answer> 2 </answer>", False, "2"),
        ("it is 2", False, None),
        (r"<think>\boxed{1}", False, None),
        ("<think>A?</think>The answer is (B).", True, "B"),
        ("A or B", True, None),
    ],
)
def test_the_stated_answer_is_read_as_the_rewards_read_it(
    text: str, is_choice: bool, answer: str | None
) -> None:
    assert stated_answer(text, think_prefilled=False, is_choice=is_choice) == answer


def test_accuracy_is_a_mean_over_tasks_with_its_error() -> None:
    rows = [row("a", k, "1/2", right=True) for k in range(4)]
    rows += [row("b", k, "1/2" if k < 1 else "3", right=k < 1) for k in range(4)]
    found = summary_of(*rows)
    assert (found["num_tasks"], found["num_samples"]) == (2, 4)
    assert found["pass_at_1"] == (1.0 + 0.25) / 2
    assert found["pass_at_1_stderr"] == pytest.approx(0.75 / sqrt(2) / sqrt(2))  # std 0.53, n 2
    assert found["pass_at_2"] == (1.0 + 0.5) / 2  # of b 3 of 6 pairs hold the right one
    assert found["pass_at_4"] == 1.0
    assert found["cons_at_k"] == 0.5  # of b three say 3


def test_the_vote_of_equal_values_is_right() -> None:
    rows = [
        row("a", k, answer, right=answer != "3")
        for k, answer in enumerate(["3", "2/4", "1/2", "0.5"])
    ]
    assert summary_of(*rows)["cons_at_k"] == 1.0


def test_programs_have_no_vote() -> None:
    rows = [{k: v for k, v in row("a", 0, "x").items() if k != "answer"}]
    assert summary_of(*rows)["cons_at_k"] is None


def test_tokens_are_counted_for_each_correct_answer() -> None:
    rows = [row("a", 0, "1/2", right=True, num_tokens=30), row("a", 1, None, num_tokens=70)]
    found = summary_of(*rows)
    assert (found["tokens_mean"], found["tokens_per_correct"]) == (50.0, 100.0)
    assert (found["thought_tokens_mean"], found["answer_tokens_mean"]) == (4.0, 5.0)
    assert found["seconds"] == 1.0
    assert summary_of(row("a", 0, None))["tokens_per_correct"] is None


def test_format_metrics_are_shares_of_completions() -> None:
    cut = row("b", 0, None, finish_reason="length", reasoning_content=None, completion="I give up")
    found = summary_of(row("a", 0, "1/2", right=True), cut)
    assert (found["format_frac"], found["truncated_frac"], found["think_frac"]) == (0.5, 0.5, 0.5)


def test_text_metrics_use_the_language_of_the_task() -> None:
    mixed = row("b", 0, "1/2", reasoning_content="四分之一加四分之一等于二分之一")
    found = summary_of(row("a", 0, "1/2"), mixed)
    assert (found["language_mixing_mean"], found["mixed_frac"]) == (0.5, 0.5)
    assert found["flags"]["mixed_language"] == 0.5 == found["readable_frac"]


def test_steps_and_key_points_are_found_in_completions() -> None:
    worked = row("a", 0, "1/2", completion="1/4 + 1/4 = 2/4, 2/4 + 1 = 2", key_points=["2/4", "x"])
    found = summary_of(worked, row("b", 0, "1/2"))
    assert (found["step_correctness"], found["num_steps"]) == (0.5, 2)
    assert found["key_point_coverage"] == 0.5
    assert summary_of(row("b", 0, "1/2"))["step_correctness"] is None


def test_every_other_reward_has_its_mean() -> None:
    first, second, third = ({"accuracy": 1.0, "short": v, "of_none": None} for v in (0.5, None, 1))
    means = summary_of(
        row("a", 0, "5", scores=first),
        row("a", 1, "5", scores=second),
        row("b", 0, "5", scores=third),
    )["rewards"]
    assert means == {"short": 0.75}  # what could not be graded is left out


def test_robustness_is_the_share_that_distractors_cost() -> None:
    assert robustness_drop(0.8, 0.6) == pytest.approx(0.25)
    assert robustness_drop(0.0, 0.0) is None


RECIPE = """\
stage: eval
name: small
model: {path: MODEL}
suites:
  math:
    tasks: {source: toy, split: heldout, num_tasks: 2}
rewards: {accuracy: 1.0, think_format: 1.0}
rollout: {max_tokens: 32, max_prompt_tokens: 64, group_size: 2}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_model(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("MODEL", str(tmp_path)), encoding="utf-8")
    return path


def config_of(recipe: Path, *overrides: str) -> EvaluateConfig:
    return load_config(EvaluateConfig, recipe, overrides)


def refusal(recipe: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as refused:
        check_eval(config_of(recipe, *overrides))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_protocol_is_that_of_the_paper_unless_the_recipe_says_otherwise(recipe: Path) -> None:
    config = config_of(recipe)
    assert (config.rollout.temperature, config.rollout.top_p) == (0.6, 0.95)
    assert [strategy.name for strategy in config.strategy] == ["plain"]


def test_a_strategy_is_named_on_the_command_line(recipe: Path) -> None:
    config = config_of(recipe, "strategy=[plain, majority, cot]")
    assert [s.name for s in config.strategy] == ["plain", "majority", "cot"]
    assert [s.pool for s in config.strategy] == ["plain", "plain", "cot"]
    assert config_of(recipe, "strategy=cot").strategy[0].name == "cot"


def test_each_suite_has_its_tasks_and_all_share_one_mix(recipe: Path) -> None:
    config = config_of(
        recipe,
        "suites.two={tasks: {source: toy, split: heldout, num_tasks: 3}, samples: 5, "
        "max_tokens: 16, correct_by: think_format, suffix: Box it.}",
    )
    inputs = check_eval(config)
    math, two = inputs.suites
    assert (math.correct_by, math.num_samples, math.max_tokens) == ("accuracy", 2, 32)
    assert (two.correct_by, two.num_samples, two.max_tokens) == ("think_format", 5, 16)
    assert str(two.tasks[0].prompt).endswith("\nBox it.")
    assert two.tasks[0].columns[SUITE] == "two"
    assert inputs.generation.tasks.num_tasks == 5
    assert inputs.generation.rewards["accuracy"]["only"] == {SUITE: ["math", "two"]}


def test_the_length_check_of_prompts_includes_the_cue(recipe: Path) -> None:
    inputs = check_eval(config_of(recipe, "strategy=[plain, cot]"))
    assert inputs.generation.tasks.task(0).prompt != inputs.suites[0].tasks[0].prompt
    assert len(inputs.generation.tasks.task(0).prompt) > len(inputs.suites[0].tasks[0].prompt)


def test_a_suffix_is_appended_to_the_last_message() -> None:
    messages = [{"role": "user", "content": "2+3?"}]
    task = with_suffix(Task(id="a", prompt=messages), "Box it.")
    assert task.prompt == [{"role": "user", "content": "2+3?\nBox it."}]


TOY = "{source: toy, split: heldout, num_tasks: 3}"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["rewards={}"], "suites.math.rewards: no reward is given"),
        (["suites.math.correct_by=x"], "suites.math.correct_by: 'x' is not one of the rewards"),
        (["suites.math.max_tokens=64"], "suites.math.max_tokens: 64 is over rollout.max_tokens=32"),
        (["suites.math.noisy_of=x"], "suites.math.noisy_of: 'x' is not one of the suites: math"),
        ([f"suites.b={{tasks: {TOY}, noisy_of: math}}"], "math has 2 tasks and b 3"),
        ([f"suites.b={{tasks: {TOY}, rewards: {{accuracy: {{worked_out: true}}}}}}"], "other opti"),
        (["suites.math.tasks={source: toy}"], "suites.math.tasks.num_tasks: toy is endless"),
        (["suites.math.tasks.source=gsm"], "suites.math.tasks.source: 'gsm' is unknown"),
        (["strategy=[plain, plain]"], "strategy: each name may appear once"),
        (["strategy=best_of_n"], "strategy best_of_n needs scorer: rule, reward_model or judge"),
        (["strategy={name: beam, scorer: rule}"], "scorer rule needs the key rule beside it"),
        (["strategy={name: beam, scorer: rule, rule: zzz}"], "strategy.beam.rule: "),
        (["strategy={name: beam, scorer: rule, rule: countdown}"], "needs the column 'numbers'"),
        (
            ["strategy={name: best_of_n, scorer: reward_model, reward_model: /nowhere}"],
            "strategy.best_of_n.reward_model: no directory /nowhere",
        ),
        (
            ["strategy={name: best_of_n, scorer: judge, judge: {url: x, model: y}}"],
            "strategy.best_of_n.judge: url: 'x' is not an address",
        ),
        (["thinking_budget=32"], "thinking_budget: 32 leaves nothing of rollout.max_tokens=32"),
    ],
)
def test_an_invalid_evaluation_is_refused_in_one_line(
    recipe: Path, overrides: list[str], said: str
) -> None:
    assert said in refusal(recipe, *overrides)


def test_the_summary_has_a_row_for_each_strategy_and_the_drop_of_a_noisy_suite(
    recipe: Path,
) -> None:
    config = config_of(
        recipe,
        "strategy=[plain, majority]",
        f"suites.noisy={{tasks: {TOY.replace('3', '2')}, noisy_of: math}}",
    )
    answers = {"math": ["1/2", "0.5", "3", "1/2"], "noisy": ["3", "3", "1/2", "1/2"]}
    rows = [
        row(f"t{k // 2}", k % 2, answer, right=answer != "3", suite=suite)
        for suite, stated in answers.items()
        for k, answer in enumerate(stated)
    ]
    summary = make_summary(config, check_eval(config).suites, rows, [])
    assert summary["suites"]["math"]["pass_at_1"] == 0.75
    assert summary["suites"]["noisy"]["robustness_drop"] == pytest.approx(1 / 3)
    plain, majority = (summary["strategies"]["math"][name] for name in ("plain", "majority"))
    assert (plain["accuracy"], plain["samples"], plain["tokens_per_task"]) == (0.75, 1, 10.0)
    assert plain["tokens_per_correct"] == pytest.approx(10 / 0.75)
    assert plain["seconds_per_task"] == 0.5
    assert (majority["accuracy"], majority["tokens_per_task"]) == (0.5, 20.0)  # 3 stands first
    assert majority["seconds_per_task"] == 1.0
