"""Text metrics of single completions, with values worked out by hand."""

from __future__ import annotations

import pytest

from rlvr.data.cleaning.filters import repetition_rate
from rlvr.data.reasoning_tags import Parts, is_thinking, split_reasoning
from rlvr.data.samples import language_of
from rlvr.evaluation.text_metrics import (
    bullet_frac,
    check_steps,
    key_point_coverage,
    language_mixing,
    num_paragraphs,
    readability_flags,
)


@pytest.mark.parametrize(
    ("text", "think_prefilled", "parts"),
    [
        ("<think>a</think>b", False, Parts("a", "b")),
        ("a</think>b", True, Parts("a", "b")),
        ("a</think>b", False, Parts("a", "b")),  # opened by the template, without think_prefilled
        ("b", False, Parts(None, "b")),
        ("<think>a", False, Parts("a", "")),
        ("a", True, Parts("a", "")),
        ("<think></think>b", False, Parts("", "b")),
        ("x<think>a</think><think>c</think>b", False, Parts("a</think><think>c", "b")),
    ],
)
def test_a_completion_has_a_thought_and_an_answer(
    text: str, think_prefilled: bool, parts: Parts
) -> None:
    assert split_reasoning(text, think_prefilled=think_prefilled) == parts


def test_reasoning_without_a_closing_tag_is_unfinished() -> None:
    assert is_thinking("<think>a") and is_thinking("a", think_prefilled=True)
    assert not is_thinking("<think>a</think>") and not is_thinking("a")


def test_repetition_is_the_share_of_ngrams_that_came_before() -> None:
    assert repetition_rate("so so so so", ngram=2) == pytest.approx(2 / 3)  # 1 of 3 pairs is new
    assert repetition_rate("我想我想我想", ngram=2) == pytest.approx(3 / 5)  # 我想, 想我 of 5
    assert repetition_rate("a b c d e") == 0.0
    assert repetition_rate("wait let me check " * 50) > 0.7


@pytest.mark.parametrize(
    ("text", "language", "share"),
    [
        ("我们先算二加三", "zh", 0.0),
        ("First we add the two numbers together", "en", 0.0),
        ("用Python写", "zh", 1 / 3),
        ("First we add the two numbers together", "zh", 1.0),
        ("2+3=5", "en", None),
        ("whatever", "tlh", None),
    ],
)
def test_language_mixing_is_the_share_of_foreign_words(
    text: str, language: str, share: float | None
) -> None:
    assert language_mixing(text, language) == (share if share is None else pytest.approx(share))


def test_a_prompt_is_chinese_where_most_of_its_words_are() -> None:
    assert language_of({"prompt": "求2*3+5的值。"}) == "zh"
    assert language_of({"prompt": "What is 2*3+5?"}) == "en"
    assert language_of({"prompt": "2+3="}) == "en"


def test_a_plain_text_raises_no_flag() -> None:
    parts = Parts("Two and three make five, as everybody knows.", "The answer is five.")
    assert not any(readability_flags(parts, language="en").values())


@pytest.mark.parametrize(
    ("parts", "flag"),
    [
        (Parts("我们先算二加三等于五然后再算别的", "The sum is five."), "mixed_language"),
        (Parts("wait let me check " * 50, "five"), "repeated"),
        (Parts("word after word with no end " * 100, "five"), "long_paragraph"),
        (Parts("```\nprint(5)\n```", "five"), "code_in_thought"),
        (Parts("it goes on", ""), "unfinished_thought"),
        (Parts(None, ""), "empty_answer"),
    ],
)
def test_a_text_that_is_hard_to_read_raises_its_flag(parts: Parts, flag: str) -> None:
    assert readability_flags(parts, language="en")[flag]


def test_bullets_are_a_share_of_lines_and_paragraphs_are_blocks() -> None:
    answer = "Here:\n- one\n* two\n3. three\n\nThat is all, 3.5 of it."
    assert bullet_frac(answer) == pytest.approx(3 / 5)
    assert num_paragraphs(answer) == 2
    assert (bullet_frac(""), num_paragraphs("")) == (0.0, 0)


@pytest.mark.parametrize(
    ("text", "right", "steps"),
    [
        ("2+3=5", 1, 1),
        ("so 2*3+5=6+5=11.", 2, 2),
        ("2*3+5 = 6+5 = 12", 1, 2),
        ("first 60 * 3 = 180, then 180 - 30 = 140", 1, 2),
        (r"12 \times 4 = 48 and 48 \div 5 = 9.6", 2, 2),
        (r"\frac{1}{2} + \frac{1}{4} = \frac{3}{4}", 1, 1),
        ("1,000 + 1 = 1001", 1, 1),
        ("10 / 3 = 3.33", 0, 1),
        ("算得4×6+5=24+5=29", 2, 2),  # noqa: RUF001
        ("(2+3)*4=20", 1, 1),
        ("1/4 + 1/4 = 2/4, 2/4 + 1 = 2", 1, 2),
        ("Step 2. 3 + 4 = 7. Then 7 - 1 = 6.", 2, 2),
        ("x + 5 + 2 = 9", 0, 0),
        ("the rest is -5 + 2 = -3", 0, 0),  # may be "rest - 5"
        ("得-5+2=-3", 1, 1),
        ("5/0 = 0", 0, 0),
        ("2 + 3 = 5x", 0, 0),
        ("+" * 5000 + "1" + "(" * 5000 + "=1", 0, 0),
        ("x = 5 and 2 + x = 7", 0, 0),
        ("there is nothing to work out", 0, 0),
        ("7 = 7", 0, 0),
        ("9**9**9**9 = 1", 0, 0),
    ],
)
def test_arithmetic_steps_are_checked_exactly(text: str, right: int, steps: int) -> None:
    found = check_steps(text)
    assert (sum(found), len(found)) == (right, steps)


def test_key_points_are_a_share() -> None:
    text = "The boat covers 60 km in 2 h, which is half: 0.5 of the way. So Kirchhoff's Law holds."
    points = ["kirchhoff's  law", "1/2", r"re:\b60\s*km", "a fourth thing"]
    assert key_point_coverage(text, points) == 0.75
    assert key_point_coverage(text, ["12", "6"]) == 0.0  # not as a part of another number
    assert key_point_coverage(text, []) is None
    with pytest.raises(ValueError, match="key point"):
        key_point_coverage(text, ["re:("])
