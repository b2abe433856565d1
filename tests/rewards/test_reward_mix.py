"""The weighted sum of rewards, what it checks, and the functions of a user."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from rewards import Grade, Outcome, RewardMix, RewardSpec

GOOD = "<think>2+3</think><answer>5</answer>"
BAD_FORM = "\\boxed{5}"


def length(completions: list[str], **columns: Any) -> list[float | None]:
    return [float(len(text)) for text in completions]


length.value_range = (0.0, 100.0)  # type: ignore[attr-defined]


def needs_columns(
    prompts: list[str], completions: list[str], answer: list[str], *, scale: float, floor: float = 0
) -> list[float | None]:
    return [scale * float(gold) + floor for gold in answer]


def as_in_trl(
    prompts: list[str],
    completions: list[str],
    completion_ids: list[list[int]],
    log_extra: Callable[..., None] | None = None,
) -> list[float]:
    return [
        float(len(prompt) + 10 * len(text) + 100 * sum(ids))
        for prompt, text, ids in zip(prompts, completions, completion_ids, strict=True)
    ]


def needs_trainer(completions: list[str], trainer_state: Any, **columns: Any) -> list[float]:
    return [0.0 for _ in completions]


def too_short(completions: list[str]) -> list[float]:
    return [1.0]


def not_finite(completions: list[str]) -> list[float]:
    return [1.0, float("nan")]


def not_a_list(completions: list[str]) -> float:
    return 1.0


def words(completions: list[str]) -> list[str]:
    return ["good", "bad"]


def skips(completions: list[str]) -> list[float | None]:
    return [None, 1.0]


@pytest.fixture(autouse=True)
def own() -> Iterator[None]:
    """A module of a user, importable as own_rewards."""
    module = ModuleType("own_rewards")
    functions: list[Callable[..., Any]] = [
        length, needs_columns, too_short, not_finite, not_a_list, words, skips,
        as_in_trl, needs_trainer,
    ]  # fmt: skip
    for function in functions:
        setattr(module, function.__name__, function)
    sys.modules["own_rewards"] = module
    yield
    del sys.modules["own_rewards"]


def test_a_mix_is_the_weighted_sum_with_its_parts_kept_apart() -> None:
    mix = RewardMix({"accuracy": RewardSpec(), "think_format": RewardSpec(weight=0.25)})
    good, form, wrong = mix.grade(
        [GOOD, BAD_FORM, "<think>2+3</think><answer>6</answer>"], {"answer": ["5"] * 3}
    )
    assert (good.value, form.value, wrong.value) == (1.25, 1.0, 0.25)
    assert form.values == {"accuracy": 1.0, "think_format": 0.0}
    assert wrong.grades == {
        "accuracy": Grade(value=0.0, outcome=Outcome.WRONG, reason="6 is not 5"),
        "think_format": Grade(value=1.0, outcome=Outcome.CORRECT),
    }
    assert wrong.reasons == {"accuracy": "6 is not 5"}


def test_a_part_that_cannot_be_graded_takes_the_sum_with_it() -> None:
    mix = RewardMix({"accuracy": 1.0, "think_format": 1.0})
    result = mix.grade([GOOD], {"answer": [""]})[0]
    assert result.value is None
    assert result.values == {"accuracy": None, "think_format": 1.0}
    assert result.grades["accuracy"].outcome is Outcome.UNGRADABLE_GOLD


def test_the_range_and_the_columns_are_known_before_any_call() -> None:
    mix = RewardMix({"accuracy": 1.0, "think_format": -0.5})
    assert mix.names == ("accuracy", "think_format")
    assert mix.required_columns == ("answer",)
    assert mix.ranges == {"accuracy": (0.0, 1.0), "think_format": (0.0, 1.0)}
    own = RewardMix({"accuracy": 1.0, "own_rewards:needs_columns": {"options": {"scale": 2.0}}})
    assert own.required_columns == ("answer",)
    assert own.ranges["own_rewards:needs_columns"] is None
    assert RewardMix({"own_rewards:length": 1.0}).ranges == {"own_rewards:length": (0.0, 100.0)}


def test_think_prefilled_reaches_every_part() -> None:
    mix = RewardMix({"accuracy": 1.0, "think_format": 1.0})
    rest = GOOD.removeprefix("<think>")
    assert mix.grade([rest], {"answer": ["5"]}, think_prefilled=True)[0].value == 2.0
    assert mix.grade([rest], {"answer": ["5"]}, prompts=["2+3? <think>"])[0].value == 2.0


def test_a_function_of_the_users_own_works_as_for_trl() -> None:
    result = RewardMix({"own_rewards:length": {"weight": 0.5}}).grade(["abcd"], {})[0]
    assert result.value == 2.0
    assert result.values == {"own_rewards:length": 4.0}
    assert result.grades["own_rewards:length"].outcome is Outcome.VALUE
    spec = {"own_rewards:needs_columns": {"options": {"scale": 3.0}}}
    assert RewardMix(spec).grade(["x"], {"answer": ["2"], "more": [1]})[0].value == 6.0
    values = [
        result.value for result in RewardMix({"own_rewards:skips": 1.0}).grade(["a", "b"], {})
    ]
    assert values == [None, 1.0]


def test_prompts_and_token_ids_reach_a_function_that_takes_them() -> None:
    mix = RewardMix({"own_rewards:as_in_trl": 1.0, "accuracy": 0.0})
    first, second = mix.grade(
        ["ab", "c"], {"answer": ["5"] * 2}, prompts=["p", "pp"], completion_ids=[[1, 2], [3]]
    )
    assert first.values["own_rewards:as_in_trl"] == 1 + 20 + 300
    assert second.values["own_rewards:as_in_trl"] == 2 + 10 + 300


@pytest.mark.parametrize(
    ("name", "wants"),
    [
        ("accuracy", ()),
        ("own_rewards:too_short", ()),
        ("own_rewards:needs_columns", ("prompts",)),
        ("own_rewards:as_in_trl", ("completion_ids", "prompts")),
        ("own_rewards:length", ("completion_ids", "prompts")),  # it takes **columns
    ],
)
def test_what_a_mix_wants_is_known_before_any_call(name: str, wants: tuple[str, ...]) -> None:
    spec = {"options": {"scale": 1.0}} if name.endswith("needs_columns") else 1.0
    assert RewardMix({name: spec}).wants == wants


REFUSED_SPECS: list[tuple[dict[str, Any], str]] = [
    ({}, "at least one reward"),
    ({"acuracy": 1.0}, "no reward 'acuracy'; known: accuracy, cosine_length"),
    ({"accuracy": float("nan")}, "weight is nan"),
    ({"accuracy": {"wieght": 1.0}}, "a spec is a weight, or weight, options and only"),
    ({"accuracy": {"options": {"strict": True}}}, "no option 'strict'; allowed: worked_out"),
    ({"accuracy": {"options": {"worked_out": "yes"}}}, "worked_out is 'yes'; allowed: true, false"),
    ({"accuracy": {"options": {"worked_out": 1}}}, "worked_out is 1; allowed: true, false"),
    ({"think_format": {"options": {"profile": ["r1"]}}}, "profile is .*; allowed: zero, r1"),
    ({"think_format": {"options": {"profile": "r2"}}}, "profile is 'r2'; allowed: zero, r1"),
    ({"no_such_module:f": 1.0}, "cannot import no_such_module"),
    ({"own_rewards:nothing": 1.0}, "no plain function 'nothing'"),
    ({"own_rewards:needs_trainer": 1.0}, "needs 'trainer_state', which only TRL's trainer has"),
    ({"own_rewards:too_short": {"options": {"x": 1}}}, "no option 'x'; allowed: none"),
]


@pytest.mark.parametrize(("specs", "message"), REFUSED_SPECS)
def test_a_mix_that_cannot_work_is_refused_when_it_is_made(
    specs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        RewardMix(specs)
    assert "\n" not in str(refused.value)


REFUSED_CALLS: list[tuple[str, str]] = [
    ("own_rewards:too_short", "returned 1 values for 2 completions"),
    ("own_rewards:not_finite", "returned nan for completion 1; it must be finite or None"),
    ("own_rewards:not_a_list", "returned float; it must return a list"),
    ("own_rewards:words", "returned 'good' for completion 0"),
    ("own_rewards:needs_columns", "needs the column 'answer'; found: none"),
    ("accuracy", "reward 'accuracy' needs the column 'answer'"),
]


@pytest.mark.parametrize(("name", "message"), REFUSED_CALLS)
def test_what_a_reward_may_not_give_is_one_clear_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RewardMix({name: 1.0}).grade(["a", "b"], {})


def test_columns_need_one_entry_a_completion() -> None:
    with pytest.raises(ValueError, match="column 'answer': needs a list of 2 entries, not 1"):
        RewardMix({"accuracy": 1.0}).grade(["a", "b"], {"answer": ["5"]})


ROUTED = {
    "accuracy": RewardSpec(only={"kind": "math"}),
    "passes_tests": RewardSpec(only={"kind": ["code", "contest"]}, weight=2.0),
    "think_format": RewardSpec(weight=0.5),
}


def test_a_reward_is_called_for_its_rows_alone() -> None:
    mix = RewardMix(ROUTED)
    tests = {"cases": [{"input": "", "output": "5"}]}
    columns = {"kind": ["math", "contest"], "answer": ["5", None], "tests": [None, tests]}
    program = "<think>a</think><answer>```\nprint(5)\n```</answer>"
    math, code = mix.grade(["<think>a</think><answer>5</answer>", program], columns)
    assert (math.value, dict(math.values)) == (1.5, {"accuracy": 1.0, "think_format": 1.0})
    assert (code.value, dict(code.values)) == (2.5, {"passes_tests": 1.0, "think_format": 1.0})


def test_a_reward_that_is_for_no_row_here_needs_no_column() -> None:
    tests = {"cases": [{"input": "", "output": "5"}]}
    [code] = RewardMix(ROUTED).grade(["no"], {"kind": ["code"], "tests": [tests]})
    assert code.values == {"passes_tests": 0.0, "think_format": 0.0}
    with pytest.raises(ValueError, match="'accuracy' needs the column 'answer'"):
        RewardMix(ROUTED).grade(["no"], {"kind": ["math"], "tests": [None]})


def test_a_task_needs_the_columns_of_the_rewards_that_are_for_it() -> None:
    mix = RewardMix(ROUTED)
    assert mix.columns_for({"kind": "math"}) == ("answer", "kind")
    assert mix.columns_for({"kind": "code"}) == ("kind", "tests")
    assert mix.columns_for({"kind": "chat"}) == ()
    with pytest.raises(ValueError, match="no reward applies to it"):
        RewardMix({"accuracy": RewardSpec(only={"kind": "math"})}).columns_for({"kind": "code"})


def hinted(completions: list[str], hint: list[str | None]) -> list[float]:
    """A user's function with a column of its own."""
    return [float(one is not None) for one in hint]


OWN = f"{__name__}:hinted"


def test_a_missing_column_is_named_with_the_reward_that_needs_it() -> None:
    mix = RewardMix(ROUTED)
    assert mix.missing_column({"kind": "math", "answer": "5"}) is None
    assert mix.missing_column({"kind": "math", "tests": "..."}) == ("accuracy", "answer")
    assert mix.missing_column({"kind": "math", "answer": None}) == ("accuracy", "answer")
    own = RewardMix({OWN: 1.0})
    assert own.missing_column({}) == (OWN, "hint")
    assert own.missing_column({"hint": None}) is None


def test_the_columns_that_a_mix_takes_are_known_unless_a_function_takes_all() -> None:
    assert RewardMix({OWN: {"only": {"kind": "x"}}}).accepted_columns == {
        "completions",
        "hint",
        "kind",
    }
    every = "rlvr.reward_models.preference_reward:preference"
    assert RewardMix({OWN: 1.0, every: {"options": {"model": "m"}}}).accepted_columns is None


def test_a_row_that_no_reward_is_for_is_named() -> None:
    mix = RewardMix({"think_format": RewardSpec(only={"kind": "math"})})
    with pytest.raises(ValueError, match="completion 1: no reward applies to its row"):
        mix.grade(["a", "b"], {"kind": ["math", "code"]})
    with pytest.raises(ValueError, match="needs the column 'kind'"):
        mix.grade(["a"], {})
    with pytest.raises(ValueError, match="only is 'math'; allowed"):
        RewardMix({"think_format": {"only": "math"}})
