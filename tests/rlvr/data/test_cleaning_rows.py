# ruff: noqa: RUF001 - Chinese punctuation is meant
"""Steps, duplicates, domains, forms, layouts and distractors, by values worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlvr.data.cleaning.domains import Domains, balance, read_domains
from rlvr.data.cleaning.filters import wrong_form
from rlvr.data.cleaning.overlap import Duplicates, normalized
from rlvr.data.cleaning.prompt_edits import (
    lay_out,
    numbered,
    with_caption,
    with_distractors,
    with_system,
)
from rlvr.data.samples import answer_of, language_of, question_of, reasoning_of, split_steps
from rlvr.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("Step 1: add. Step 2: halve.", ["add.", "halve."]),
        ("1. add\n2) halve\n3. round to 1.5", ["add", "halve", "round to 1.5"]),
        ("We go on:\n- add\n* halve", ["add", "halve"]),
        ("add\n\nhalve\n \nround\n\nend", ["add", "halve", "round", "end"]),
        ("步骤一：相加。步骤二：减半。步骤三：取整。", ["相加。", "减半。", "取整。"]),
        ("步骤1：相加\n步骤2：减半", ["相加", "减半"]),
        ("第一步，相加；第二步，减半", ["相加；", "减半"]),
        ("（1）相加\n（2）减半", ["相加", "减半"]),
        ("一、相加\n二、减半\n三、取整\n四、结束", ["相加", "减半", "取整", "结束"]),
        ("1. add\n - tens\n - ones\n2. halve", ["add\n - tens\n - ones", "halve"]),
        ("1.5 and 2.5 are 4", ["1.5 and 2.5 are 4"]),
        ("  ", []),
    ],
)
def test_reasoning_has_the_steps_of_its_markers(text: str, steps: list[str]) -> None:
    assert split_steps(text) == steps


def test_numbered_steps_are_split_again() -> None:
    assert numbered(["相加 ", "halve"]) == "1. 相加\n2. halve"
    assert split_steps(numbered(["add", "halve", "round"])) == ["add", "halve", "round"]


@pytest.mark.parametrize(
    ("row", "question", "thought", "answer"),
    [
        ({"prompt": "2+3?", "completion": "<think>a</think>5"}, "2+3?", "a", "5"),
        ({"prompt": "?", "reasoning_content": "a", "content": "5"}, "?", "a", "5"),
        ({"context": "c", "task_desc": "t", "steps": ["a", "b"], "answer": 5}, "c\nt", "a\nb", "5"),
        ({"messages": [{"role": "user", "content": "?"}]}, "?", "", ""),
    ],
)
def test_a_row_has_question_reasoning_and_answer(
    row: dict[str, Any], question: str, thought: str, answer: str
) -> None:
    assert (question_of(row), reasoning_of(row), answer_of(row)) == (question, thought, answer)


def test_the_language_of_a_question() -> None:
    assert language_of({"prompt": "用Python写一个程序"}) == "zh"
    assert language_of({"prompt": "What is 你好 in English?"}) == "en"
    assert language_of({"prompt": "2+3", "language": "zh"}) == "zh"
    assert language_of({"prompt": "2+3"}) == "en"


def test_case_width_and_white_space_make_no_difference() -> None:
    assert normalized(" Ａdd  the\nTWO ") == "add the two"
    assert normalized("先 相加， 再 减半") == normalized("先相加，再减半")
    assert normalized("1 2") != normalized("12")


def test_a_row_is_a_duplicate_of_the_first_with_the_same_text() -> None:
    duplicates = Duplicates()
    row = {"context": "Rates rise.", "steps": ["Bonds fall.", "Sell."]}
    assert duplicates.found(row, id="a") is None
    assert duplicates.found({**row, "context": "rates  RISE."}, id="b") == "a"
    assert duplicates.found({**row, "steps": ["Bonds fall. Sell."]}, id="c") is None
    assert duplicates.found({"prompt": "Rates rise."}, id="d") is None


def test_the_compared_columns_are_an_option() -> None:
    duplicates = Duplicates(columns=["prompt", "answer"])
    assert duplicates.found({"prompt": "2+3?", "answer": 5, "content": "x"}, id="a") is None
    assert duplicates.found({"prompt": "2+3?", "answer": "5", "content": "y"}, id="b") == "a"


def test_near_duplicates_share_most_of_their_words() -> None:
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(100)]
    duplicates = Duplicates(columns=["prompt"], near=0.8)
    assert duplicates.found({"prompt": " ".join(words)}, id="a") is None
    # one word of a hundred: 5 of 96 five-grams differ, 91 / 101 = 0.90
    changed = [*words[:50], "other", *words[51:]]
    assert duplicates.found({"prompt": " ".join(changed)}, id="b") == "a"
    # every tenth word: 5-grams in common are few
    changed = ["other" if i % 10 == 0 else word for i, word in enumerate(words)]
    assert duplicates.found({"prompt": " ".join(changed)}, id="c") is None


@pytest.mark.parametrize(
    ("text", "domains"),
    [
        ("央行上调利率，这家公司的市值会怎样？", ["finance"]),
        ("The patient's symptoms suggest a diagnosis.", ["medical"]),
        ("原告与被告签订了合同，判决如何？", ["law"]),
        ("证明这个三角形是等边的", ["math"]),
        ("用python写一个排序算法", ["code"]),
        ("Write a poem about rain.", ["other"]),
        ("stocky laws of a contractor", ["other"]),
        # two words of medicine, one of law
        ("患者的诊断是否合乎法律？", ["medical", "law"]),
        # one word each: the file's order decides
        ("A contract over a loan", ["finance", "law"]),
    ],
)
def test_a_domain_is_known_by_its_words(text: str, domains: list[str]) -> None:
    assert Domains(read_domains()).of(text) == domains


def test_domains_come_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "domains.yaml"
    file.write_text("cooking: [soup, 汤]\n")
    assert Domains(read_domains(str(file))).of("一碗汤") == ["cooking"]
    assert Domains(read_domains(str(file)), min_keywords=2).of("一碗汤") == ["other"]
    file.write_text("- cooking\n")
    with pytest.raises(ConfigError, match="is not a mapping of each domain"):
        read_domains(str(file))


def test_balance_counts_rows_by_domain() -> None:
    assert balance(["law", "law", "law", "code", "law"]) == {
        "rows": {"law": 4, "code": 1},
        "smallest_to_largest": 0.25,
    }
    assert balance([])["smallest_to_largest"] is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"context": "c", "task_desc": "t", "steps": ["a"], "answer": "5"}, None),
        ({"prompt": "p", "reasoning_content": None, "content": "5"}, None),
        ({"messages": [{"role": "user", "content": "p"}], "answer": "5"}, None),
        ({"prompt": "p", "steps": ["a", 2], "answer": "5"}, "steps[1] is a number, not text"),
        ({"prompt": "p", "steps": ["a", " "], "answer": "5"}, "steps[1] is empty, not text"),
        ({"prompt": "p", "steps": "a", "answer": "5"}, "steps is text, not a list"),
        ({"prompt": "p", "domain": 3, "answer": "5"}, "domain is a number, not text"),
        ({"messages": [{"role": "bot", "content": ""}]}, "messages[0] has no role of system"),
        ({"prompt": [{"role": "user"}]}, "prompt[0].content is null, not text"),
        ({"context": " ", "answer": "5"}, "no question"),
        ({"prompt": "p", "answer": ""}, "no answer"),
        ({"prompt": "p", "answer": 5}, None),
        ({"prompt": "p", "answer": {}}, "answer is an object, neither text nor a number"),
    ],
)
def test_the_form_of_a_row(row: dict[str, Any], reason: str | None) -> None:
    found = wrong_form(row)
    assert found == reason if reason is None else found is not None and reason in found


def test_context_task_and_steps_become_prompt_and_reasoning() -> None:
    row = {"context": "某银行上调利率。", "task_desc": "分析影响。", "steps": ["看债券", "看股票"]}
    laid_out = lay_out({**row, "answer": "债券下跌"})
    assert laid_out["prompt"] == "某银行上调利率。\n\n推理要求：分析影响。"
    assert laid_out["reasoning_content"] == "1. 看债券\n2. 看股票"
    assert laid_out["content"] == "债券下跌"
    english = {"context": "Rates rise.", "task_desc": "What falls?", "steps": ["Bonds"]}
    assert lay_out(english)["prompt"] == "Rates rise.\n\nRequirements: What falls?"
    sample = {"prompt": "2+3?", "completion": "<think>Step 1: a Step 2: b</think>5", "content": "5"}
    assert lay_out(sample) == {
        "prompt": "2+3?",
        "content": "5",
        "reasoning_content": "1. a\n2. b",
    }


def test_the_system_message_is_that_of_the_domain() -> None:
    systems = {"finance": "You are a financial analyst.", "other": "You help."}
    analyst = {"role": "system", "content": "You are a financial analyst."}
    asked = {"role": "user", "content": "?"}
    assert with_system({"prompt": "?", "domain": "finance"}, systems)["prompt"] == [analyst, asked]
    old = [{"role": "system", "content": "old"}, asked]
    assert with_system({"prompt": old, "domain": "finance"}, systems)["prompt"] == [analyst, asked]
    helped = with_system({"prompt": "?", "domain": "law"}, systems)["prompt"]
    assert helped[0]["content"] == "You help."
    assert with_system({"prompt": "?", "domain": "law"}, {}) == {"prompt": "?", "domain": "law"}


def test_a_caption_is_appended_to_the_prompt() -> None:
    row = {"prompt": "图中有什么？", "caption": "一只猫"}
    assert with_caption(row, "caption")["prompt"] == "图中有什么？\n\n图片说明：一只猫"
    assert with_caption({"prompt": "?"}, "caption") == {"prompt": "?"}


@pytest.mark.parametrize(
    "prompt", ["Tom has 3.5 kg. He eats 1. How much now?", "小明有3支笔。现在有多少？"]
)
def test_a_distractor_comes_before_the_last_sentence(prompt: str) -> None:
    row = {"prompt": prompt, "answer": "2.5"}
    disturbed = with_distractors(row, id="a", seed=0, count=2)
    assert disturbed["answer"] == "2.5"
    assert disturbed["has_distractor"] is True
    assert len(disturbed["distractors"]) == 2
    assert all(sentence in disturbed["prompt"] for sentence in disturbed["distractors"])
    assert disturbed["prompt"][-4:] == prompt[-4:]
    rest = disturbed["prompt"]
    for sentence in disturbed["distractors"]:
        rest = rest.replace(sentence, "")
    assert "".join(rest.split()) == "".join(prompt.split())


def test_distractors_depend_on_seed_and_row() -> None:
    row = {"prompt": "Tom has 3 pens. How many now?"}
    first = with_distractors(row, id="a", seed=0)
    assert first == with_distractors(row, id="a", seed=0)
    others = [with_distractors(row, id=id, seed=seed) for id, seed in (("a", 1), ("b", 0))]
    assert all(other != first for other in others)


def test_a_row_without_a_text_gets_no_distractor() -> None:
    row = {"prompt": [{"role": "user", "content": "?"}]}
    assert with_distractors(row, id="a", seed=0) == {**row, "has_distractor": False}
