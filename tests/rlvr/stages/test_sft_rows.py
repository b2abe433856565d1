"""Reading of rows: their forms, mixtures, counts and warnings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.data.rows import Row
from rlvr.errors import ConfigError
from rlvr.stages.sft.dataset import count_warnings, make_data
from rlvr.stages.sft.examples import (
    Example,
    check_sources,
    chosen_examples,
    mixture_counts,
    read_example,
    reasoning_of,
)
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_plan import SftPlan, make_plan
from rlvr.toy.toy_model import make_tokenizer

R1 = "<think>\n{reasoning_content}\n</think>\n\n{content}"


def read(values: dict[str, Any], template: str = R1, **columns: str) -> Example:
    row = Row(number=3, where="rows.jsonl:3", values=values)
    return read_example(row, columns=columns, answer_template=template)


def plan_of(data: Any, **values: Any) -> SftPlan:
    given = {"name": "a", "model": "toy", "data": data, "prompt": {"template": "plain"}, **values}
    return make_plan(SftConfig.model_validate(given), is_cpu=True)


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("values", "prompt", "completion"),
    [
        ({"text": "a b"}, None, "a b"),
        ({"prompt": "q", "completion": " a"}, "q", " a"),
        (
            {"prompt": "q", "reasoning_content": "t", "content": "a"},
            "q",
            "<think>\nt\n</think>\n\na",
        ),
        ({"prompt": "q", "reasoning_content": None, "content": "a"}, "q", "a"),
        ({"prompt": "q", "reasoning_content": " ", "content": "a"}, "q", "a"),
        ({"prompt": "q", "content": None}, "q", ""),
        ({"instruction": "do", "input": "x", "output": "y"}, "do\nx", "y"),
        ({"instruction": "do", "input": "", "output": "y"}, "do", "y"),
        ({"prompt": "q", "completion": "</think>a", "content": "b"}, "q", "</think>a"),
    ],
)  # fmt: skip
def test_each_form_of_a_row_is_read(
    values: dict[str, Any], prompt: str | None, completion: str
) -> None:
    example = read(values)
    assert (example.prompt, example.completion) == (prompt, completion)


def test_of_a_conversation_the_last_answer_is_learned() -> None:
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes?", "reasoning_content": "old"},
        {"role": "user", "content": "2+3"},
        {"role": "assistant", "content": "5", "reasoning_content": "2+3=5"},
    ]
    example = read({"messages": turns})
    assert [m["role"] for m in example.prompt or ()] == ["user", "assistant", "user"]  # type: ignore[index]
    assert example.completion == "<think>\n2+3=5\n</think>\n\n5"


def test_a_medical_row_becomes_the_text_of_its_template_to_the_byte() -> None:
    values = {"Question": "Why?", "Complex_CoT": "Because.", "Response": "So."}
    columns = {"prompt": "Question", "reasoning_content": "Complex_CoT", "content": "Response"}
    example = read(values, "<think>\n{reasoning_content}\n</think>\n{content}", **columns)
    assert (example.prompt, example.completion) == ("Why?", "<think>\nBecause.\n</think>\nSo.")


@pytest.mark.parametrize(
    ("values", "columns", "line"),
    [
        ({"a": "b"}, {"prompt": "q"}, "rows.jsonl:3: no text under 'q'; the row has a"),
        ({"prompt": "q"}, {}, "rows.jsonl:3: no text under 'completion'; the row has prompt"),
        ({"prompt": 3, "completion": "a"}, {}, "no text under 'prompt'"),
        ({"x": "q"}, {}, "rows.jsonl:3: the row has x; a training row has text;"),
        ({"messages": [{"role": "user", "content": "a"}]}, {}, "the last must be the assistant's"),
        ({"instruction": "a"}, {}, "no text under 'output'"),
    ],
)
def test_a_row_that_lacks_something_is_named(
    values: dict[str, Any], columns: dict[str, str], line: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(values, **columns)
    assert line in str(refused.value)


def test_a_template_names_the_column_that_a_row_lacks() -> None:
    with pytest.raises(ConfigError, match=r"rows\.jsonl:3: no text under 'step'"):
        read({"prompt": "q", "reasoning_content": "t", "content": "a"}, "{step} {content}")


@pytest.mark.parametrize(
    ("text", "think_prefilled", "thought"),
    [
        ("<think>a</think>b", False, "a"),
        ("a</think>b", False, "a"),
        ("a</think>b", True, "a"),
        ("<think>\n\n</think>\n\nb", False, ""),
        ("b", False, ""),
        ("<think>cut of", False, "cut of"),
        ("cut of", True, "cut of"),
    ],
)
def test_the_thought_of_an_answer(text: str, think_prefilled: bool, thought: str) -> None:
    assert reasoning_of(text, think_prefilled=think_prefilled) == thought


@pytest.mark.parametrize(
    ("weights", "available", "num_rows", "counts"),
    [
        ([0.7, 0.3], [1000, 1000], 100, [70, 30]),
        ([0.7, 0.3], [1000, 1000], 101, [71, 30]),  # 70.7 and 30.3
        ([7, 3], [70, 1000], None, [70, 30]),
        ([1, 1, 1], [9, 9, 9], 10, [4, 3, 3]),
    ],
)
def test_a_mixture_has_its_weights_to_within_a_row(
    weights: list[float], available: list[int], num_rows: int | None, counts: list[int]
) -> None:
    assert mixture_counts(weights, available, num_rows) == counts


def mixture(tmp_path: Path, **values: Any) -> SftPlan:
    cot = [{"prompt": f"q{i}", "reasoning_content": "t", "content": "a"} for i in range(100)]
    plain = [{"prompt": f"p{i}", "completion": "a"} for i in range(100)]
    sources = [
        {"path": write(tmp_path / "cot.jsonl", cot), "weight": 0.7},
        {"path": write(tmp_path / "plain.jsonl", plain), "weight": 0.3},
    ]
    return plan_of(sources, **values)


def test_a_mixture_is_the_same_for_a_seed_and_another_for_another(tmp_path: Path) -> None:
    def prompts(seed: int) -> list[Any]:
        examples = chosen_examples(mixture(tmp_path, num_rows=100, seed=seed))
        return [example.prompt for _, example in examples]

    first = prompts(0)
    assert len([p for p in first if p[0] == "q"]) == 70
    assert len(set(first)) == 100
    assert first == prompts(0)
    assert first != prompts(1)


def test_the_share_with_a_thought_is_counted(tmp_path: Path) -> None:
    plan = mixture(tmp_path, num_rows=50)
    counts = make_data(plan, make_tokenizer(), tmp_path / "tokens").counts
    assert counts.thought_frac == 0.7
    assert counts.by_source == {str(tmp_path / "cot.jsonl"): 35, str(tmp_path / "plain.jsonl"): 15}


def test_a_source_may_give_only_its_rows_with_or_without_a_thought(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{i}", "reasoning_content": "t" * (i % 2), "content": "a"} for i in range(20)
    ]
    path = write(tmp_path / "rows.jsonl", rows)
    sources = [
        {"path": path, "has_thought": True, "weight": 0.2},
        {"path": path, "has_thought": False, "weight": 0.8},
    ]
    chosen = list(chosen_examples(plan_of(sources)))
    assert [place for place, _ in chosen] == [0, 0, *[1] * 10]


def test_a_mixture_that_needs_more_rows_than_a_source_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 100 rows, but the mixture of 150 needs 105"):
        list(chosen_examples(mixture(tmp_path, num_rows=150)))


def test_rows_that_an_earlier_stage_dropped_are_not_learned(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "b", "kept": i == 1} for i in range(3)]
    path = write(tmp_path / "rows.jsonl", rows)
    assert len(list(chosen_examples(plan_of(path)))) == 1


def test_a_split_is_the_first_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", [{"text": str(i)} for i in range(9)])
    examples = [e.completion for _, e in chosen_examples(plan_of(path, split="train[:3]"))]
    assert examples == ["0", "1", "2"]


def test_a_file_without_a_row_of_the_kind_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}])
    with pytest.raises(ConfigError, match="has no rows with reasoning"):
        check_sources(plan_of([{"path": path, "has_thought": True}]))


def test_rows_that_are_cut_or_empty_are_counted_and_named(tmp_path: Path) -> None:
    rows = [
        {"prompt": "1+1", "completion": "2"},
        {"prompt": "1+1", "completion": "2" * 50},
        {"prompt": "1" * 50, "completion": "2"},
        {"prompt": "1+1", "content": None},
    ]
    path = write(tmp_path / "rows.jsonl", rows)
    plan = plan_of(path, max_tokens=16)
    data = make_data(plan, make_tokenizer(), tmp_path / "tokens")
    counts = data.counts
    assert (counts.num_rows, counts.num_cut, counts.num_too_long, counts.num_empty) == (2, 1, 1, 1)
    (line,) = count_warnings(counts, plan)
    assert "max_tokens: 2 rows are longer than 16; 1 are cut and lose their end, 1 are" in line
    assert f"{tmp_path / 'rows.jsonl'}:2" in line
    assert len(data.dataset[1]["input_ids"]) == 16
    dropping = plan_of(path, max_tokens=16, too_long="drop")
    assert make_data(dropping, make_tokenizer(), tmp_path / "tokens").counts.num_too_long == 2


def test_data_without_a_thought_for_a_model_that_thinks_is_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": "1+1", "completion": "2"}])
    plan = plan_of(path, thinking=True)
    counts = make_data(plan, make_tokenizer(), tmp_path / "tokens").counts
    (line,) = count_warnings(counts, plan)
    assert "no row has reasoning, but the model should reason" in line
    assert count_warnings(counts, plan_of(path)) == []


def test_nothing_to_learn_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": "1+1", "content": ""}])
    with pytest.raises(ConfigError, match="has nothing to learn: 1 rows empty, 0 rows too_long"):
        make_data(plan_of(path), make_tokenizer(), tmp_path / "tokens")
