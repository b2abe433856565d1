"""Filters of samples, by values worked out by hand."""

from __future__ import annotations

import pytest

from rlvr.data.cleaning.filters import (
    code_in_thought,
    long_paragraph,
    malformed,
    mixed_language,
    repeated,
    repetition_rate,
    truncated,
)
from rlvr.data.cleaning.overlap import Contamination, words

NATALIA = "Natalia sold clips to 48 of her friends in April, and then she sold half as many in May."
NORMAL = (
    "First add the two numbers on the left, then carry the one. The tens give five, the ones give "
    "two, and together that makes fifty-two. Check it by taking thirty away again."
)
NORMAL_ZH = "先把左边两个数相加,再进一位。十位得五,个位得二,合起来就是五十二。最后用减法检验一遍。"


def test_eight_words_in_a_row_are_contamination() -> None:
    contamination = Contamination({"gsm8k": [NATALIA], "other": ["Who wrote the play Hamlet?"]})
    assert contamination.found("Once, NATALIA sold clips to 48 of her friends.") == "gsm8k"
    assert contamination.found("Natalia sold clips to 48 of his friends in June.") is None


def test_a_short_question_is_found_where_it_matches_as_a_whole() -> None:
    contamination = Contamination({"quiz": ["Who wrote the play Hamlet?"]})
    assert contamination.found("who wrote the play 'Hamlet'") == "quiz"
    assert contamination.found("Who wrote the play Hamlet, and when, and for which stage?") is None


def test_chinese_counts_in_characters_and_width_does_not_matter() -> None:
    contamination = Contamination({"zh": ["小明有12盒,每盒3支笔,又买来5支。"]})
    assert words("每盒3支") == ["每", "盒", "3", "支"]
    assert contamination.found("请问:小明有\uff11\uff12盒,每盒\uff13支笔吗") == "zh"
    assert contamination.found("小红有12盒,每盒4支笔") is None


def test_signs_tell_sums_apart() -> None:
    contamination = Contamination({"sums": ["求2*3+5的值。"]})
    assert contamination.found("求2*3+5的值") == "sums"
    assert contamination.found("求2+3*5的值") is None


def test_what_many_texts_of_a_set_share_is_boilerplate() -> None:
    form = "Please reason step by step and put your final answer within a box."
    contamination = Contamination({"aime": [f"Let x be {n}. Find {n}+{n}. {form}" for n in "1234"]})
    assert contamination.found(f"How many apples are left? {form}") is None
    assert contamination.found("Let x be 3. Find 3+3.") == "aime"


def test_an_empty_text_is_in_no_set() -> None:
    assert Contamination({"a": ["", "?"]}).found("!") is None


def test_an_ngram_has_at_least_one_word() -> None:
    with pytest.raises(ValueError, match="ngram is 0"):
        Contamination({}, ngram=0)


def test_repetition_is_one_minus_different_over_all() -> None:
    assert repetition_rate("so so so so", ngram=2) == pytest.approx(2 / 3)
    assert repetition_rate("对对对对对", ngram=2) == pytest.approx(3 / 4)
    assert repetition_rate("one") == 0.0


@pytest.mark.parametrize("text", [NORMAL, NORMAL_ZH])
def test_a_repetitive_text_is_dropped_and_a_normal_one_kept(text: str) -> None:
    assert repetition_rate(text) < 0.3
    assert repeated(text) is None
    assert repetition_rate(text * 5) > 0.7
    assert repeated(text * 5) == f"repetition: rate {repetition_rate(text * 5):.2f}, over 0.7"


def test_a_thought_is_in_one_language() -> None:
    assert mixed_language(NORMAL, "en") is None
    assert mixed_language(NORMAL_ZH, "zh") is None
    assert mixed_language("先加起来得八", "en") == "language: 0 of 6 words are en"
    assert mixed_language("用Python写", "zh", min_frac=0.6) is None
    assert mixed_language("用Python写", "zh") == "language: 2 of 3 words are zh"


@pytest.mark.parametrize("thought", ["", "2+3=5", r"$\frac{1}{2}$"])
def test_a_thought_without_words_is_in_no_other_language(thought: str) -> None:
    assert mixed_language(thought, "zh") is None


def test_a_paragraph_ends_at_an_empty_line() -> None:
    assert long_paragraph("a" * 10 + "\n \n" + "b" * 10, max_chars=10) is None
    assert long_paragraph("a" * 5 + "\n" + "b" * 5, max_chars=10) == (
        "paragraph: 11 characters, over 10"
    )


def test_code_in_a_thought_is_a_fenced_block() -> None:
    assert code_in_thought("so\n```python\nprint(1)\n```") == "code: a code block in the thought"
    assert code_in_thought("call `print(1)` once") is None


def test_the_form_is_that_of_think_format() -> None:
    assert malformed("<think>2+3</think>5") is None
    assert malformed("2+3</think>5", think_prefilled=True) is None
    assert malformed({"content": "5", "reasoning_content": "2+3"}) is None
    assert malformed("5") == "form: 0 <think> and 0 </think>, not one of each"
    assert malformed("<think>2+3</think>5", profile="zero") == (
        "form: 0 <answer> and 0 </answer>, not one of each"
    )


def test_a_completion_is_truncated_by_the_limit_or_in_its_thought() -> None:
    assert truncated("<think>a</think>b") is None
    assert truncated("<think>a</think>b", finish_reason="stop") is None
    assert truncated("<think>a</think>b", finish_reason="length") is not None
    assert truncated("<think>a") == "truncated: the thought was opened and never closed"
    assert truncated("a", think_prefilled=True) is not None
