"""For any text: no exception, a value within range, and the same value twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import grade_accuracy, grade_format
from rewards.math.notation import normalize
from rewards.math.plain_numbers import plain_number

TOKENS = st.sampled_from(
    [
        *("<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "}", "{", "(", ")", "[", "]"),
        *("\\frac", "\\sqrt", "\\pi", "^", "_", ",", "=", "<", "\\le", "\\cup", "\\pm", "\\text{"),
        *("1", "42", "0", ".", "-", "+", "/", "x", "A", "i", "\\%", "\\$", "$", "^\\circ", "!"),
        *(" ", "\n", " or ", " not ", "km", "\\begin{pmatrix}", "&", "\\\\", "\\end{pmatrix}"),
        *("\\infty", "\\sin", "\\int", "\x00", "\ud800", "\uff11", "\u00bd", "\u221a", "\u6216"),
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(TOKENS, max_size=14).map("".join))
GOLDS = st.sampled_from(["42", "x+1", "(1,2)", r"\frac{1}{2}", "Friday", "B", r"50\%", "x=5"])


@settings(max_examples=250, deadline=None)
@given(TEXTS, GOLDS, st.booleans())
def test_any_text_earns_zero_or_one(text: str, gold: str, think_prefilled: bool) -> None:
    grade = grade_accuracy(text, gold, think_prefilled=think_prefilled)
    assert grade.value in (0.0, 1.0)
    assert grade == grade_accuracy(text, gold, think_prefilled=think_prefilled)


@settings(max_examples=250, deadline=None)
@given(TEXTS, GOLDS)
def test_any_answer_in_a_box_earns_zero_or_one(answer: str, gold: str) -> None:
    assert grade_accuracy(rf"\boxed{{{answer}}}", gold).value in (0.0, 1.0)


@settings(max_examples=250, deadline=None)
@given(TEXTS)
def test_any_gold_can_be_handed_in(gold: str) -> None:
    assert grade_accuracy(r"\boxed{x+2}", gold).value in (0.0, 1.0, None)


@given(TEXTS, st.sampled_from(["zero", "r1"]), st.booleans())
def test_any_text_has_a_form_or_has_not(text: str, profile: str, think_prefilled: bool) -> None:
    assert grade_format(text, profile=profile, think_prefilled=think_prefilled).value in (0.0, 1.0)


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_a_fraction_is_read_exactly(top: int, bottom: int) -> None:
    fraction = normalize(rf"$\dfrac{{{top}}}{{{bottom}}}$.")
    assert plain_number(fraction) == plain_number(f"{top}/{bottom}")


@given(st.integers(-(10**12), 10**12))
def test_thousands_commas_change_no_number(number: int) -> None:
    assert plain_number(f"{number:,}") == number
    assert grade_accuracy(rf"\boxed{{{number:,}}}", str(number + 1)).value == 0.0
