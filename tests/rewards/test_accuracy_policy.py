"""Which answers equal a gold: tables from gold and answer to the value."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rewards import accuracy, grade_accuracy

RIGHT = [
    # numbers
    ("42", "42"),
    ("42", "42."),
    ("42", "+42"),
    ("42", "042"),
    ("42", "42.0"),
    ("42", "$42$"),
    ("42", "\uff14\uff12"),
    ("-3", "\u22123"),
    ("1080", "1,080"),
    ("1080", "1{,}080"),
    ("1,080", r"1\,080"),
    (r"14,\!641", "14641"),
    ("0.5", "1/2"),
    (r"\frac{1}{2}", "0.50"),
    (r"\frac43", r"\dfrac{4}{3}"),
    ("1/3", r"0.\overline{3}"),
    ("7/2", "3\u00bd"),
    (r"6\frac{1}{6}", "37/6"),
    ("7", "3+4=7"),
    ("7", "x = 7"),
    ("1000", "10^3"),
    ("1500", r"1.5\times10^3"),
    (r"\frac{1}{29,\!322,\!216}", "1/29322216"),
    # units, currency, percent, degrees
    ("42", "42 apples"),
    ("42", r"42\text{ cm}"),
    (r"5\text{ km}", "5"),
    (r"5\text{ km}", "5 kilometers"),
    ("18", r"\$18"),
    (r"\$18.90", "18.9 dollars"),
    (r"80\text{ cents}", r"\$0.80"),
    (r"50\%", "50"),
    (r"50\%", "0.5"),
    (r"50\%", "50 percent"),
    ("50", r"50\%"),
    (r"20^\circ", "20"),
    ("20", "20\u00b0"),
    (r"20^{\circ}", "20 degrees"),
    ("42", "42\u4e2a"),
    (r"5\text{ km}", "5\u5343\u7c73"),
    (r"5\text{ km}", "5000 m"),
    (r"24\text{ cm}^2", "24\u5e73\u65b9\u5398\u7c73"),
    (r"10\text{ m/s}", "10 m/s"),
    (r"8\pi\text{ cm}", r"8\pi cm"),
    (r"25^\circ\text{C}", "25\u00b0C"),
    ("5 hours", "5 h"),
    (r"15\text{ minutes}", r"\frac14\text{ hour}"),
    (r"480+480\sqrt{3}\text{ feet}", r"480(1+\sqrt{3})"),
    # expressions
    (r"\sqrt{3}", "\u221a3"),
    (r"10\sqrt3", r"\sqrt{300}"),
    ("(x+1)^2", "x\u00b2+2x+1"),
    (r"e^{i\pi}", "-1"),
    ("-1", "i^2"),
    ("5", "|3+4i|"),
    (r"\cos 60^\circ", "0.5"),
    (r"\log_2 8", "3"),
    (r"\sin^2 x", r"1-\cos^2 x"),
    ("1:2", "2:4"),
    ("24", "4!"),
    ("300000", "3e5"),
    ("x>2", r"x \in (2,\infty)"),
    ("x>2", r"\{x \mid x>2\}"),
    (r"-1\le x<3", r"x\in[-1,3)"),
    (r"\{1,2\}", r"x\in\{1,2\}"),
    (r"\mathbb{R}", r"(-\infty,\infty)"),
    (r"\text{no solution}", "No solutions."),
    ("DNE", "does not exist"),
    ("42", r"\text{42 apples}"),
    (r"2e", r"2\mathrm{e}"),
    (r"3+4i", r"3+4\mathrm{i}"),
    (r"\ln 2", "ln(2)"),
    (r"4\pi", "4pi"),
    (r"\lg 2", r"\log_{10}2"),
    (r"\{1,2,3\}", "{3,2,1}"),
    (r"\emptyset", r"\varnothing"),
    (r"\lfloor x\rfloor", "\u230ax\u230b"),
    (r"(3,-1)", r"\langle 3,-1\rangle"),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\left(\begin{array}{cc}1&2\end{array}\right)"),
    (r"3\times10^5", "300,000"),
    ("10!", "3,628,800"),
    ("|x-1|", "|1-x|"),
    (r"\sum_{k=1}^{n}k", r"\frac{n(n+1)}{2}"),
    ("1:2:3", "2:4:6"),
    (r"\pi", r"x=\pi"),
    (r"f(x)=\sin x", r"f(x)=\sin(x)"),
    (r"\pm 3", "3 or -3"),
    ("1, 2 and 3", "1, 2, and 3"),
    (r"\begin{pmatrix}1\\2\\3\end{pmatrix}", "(1,2,3)"),
    ("2A_{16}", "2a_{16}"),
    # several values
    ("3,-3", "-3, 3"),
    (r"2\pm\sqrt{3}", r"2-\sqrt3, 2+\sqrt3"),
    (r"2\text{ and }3", "3 or 2"),
    (r"\{1,2\}", r"\{2,1\}"),
    ("(1,2)", r"\left( 1, \, \frac{4}{2} \right)"),
    ("[1,2)", "[1, 2.0)"),
    (r"(-\infty,2)\cup(3,4]", r"(3,4] \cup (-\infty, 2)"),
    ("1<x<2", "(1,2)"),
    ("[-2,7]", r"-2\le x\le 7"),
    (
        r"\begin{pmatrix}-1/2\\5/2\end{pmatrix}",
        r"\begin{bmatrix} -0.5 \\ 2.5 \end{bmatrix}",
    ),
    # equations
    ("y=2x+3", "2x-y=-3"),
    ("y=2x+3", "2x+3"),
    ("2x+3y=5", "4x+6y=10"),
    # bases, text, choices
    ("204_6", "204_{6}"),
    ("204_6", "204"),
    (r"\text{Friday}", "friday"),
    (r"\text{two lines}", "Two Lines."),
    ("B", "(B)"),
    ("B", r"\text{B}"),
    ("B", "\uff22"),
    ("(B)", "B"),
    ("B", "B. 42"),
    ("\u661f\u671f\u4e94", "\u661f\u671f\u4e94\u3002"),
    ("LQSX", "LQSX"),
]

WRONG = [
    ("42", "41"),
    ("42", "-42"),
    ("42", "42.0000001"),
    ("42", "1=2=42"),
    ("42", "41 or 42"),
    ("42", r"41\text{ or }42"),
    ("42", "not 42"),
    ("42", "nan"),
    ("42", r"\infty"),
    ("42", "(42, 42)"),
    ("1/3", "0.333333"),
    (r"\pi", "3.14159265358979"),
    ("0.0000002", "0.0000001"),
    (r"\frac{1}{2006!}", r"\frac{1}{2004!}"),
    ("0", "x^2-5x+6=0"),
    ("5", "2x+3y=5"),
    ("2ab", "2"),
    ("x+3t", "x+3"),
    (r"\pi r^2 h", r"\pi r^2"),
    ("2h", "2t"),
    ("a", "A"),
    ("n!", "n"),
    ("4!", "4"),
    (r"\pi R^2", r"\pi r^2"),
    ("|x|", "x"),
    ("x=5", "y=5"),
    (r"5\text{ km}", "5 m"),
    (r"\$18", "18 euros"),
    ("3\u5c0f\u65f6", "3\u5206\u949f"),
    ("18\u5143", "18\u7f8e\u5143"),
    ("50\u5e73\u65b9\u5398\u7c73", "50 cm"),
    (r"24\text{ cm}^2", r"24\text{ cm^3}"),
    (r"10\text{ m/s}", "10 km/h"),
    (r"25^\circ\text{C}", r"25^\circ F"),
    ("\\frac{x^3}{3}", r"\frac{x^3}{3}+\text{C}"),
    ("42", "42 m"),
    ("50", "0.5"),
    ("50", r"5000\%"),
    ("9", r"900\%"),
    ("0.5", r"50\%"),
    ("12,345", r"\{12,345\}"),
    ("x>2", r"x \in [2,\infty)"),
    ("x>2", r"\{x \mid x<2\}"),
    (r"\mathbb{R}", r"\mathbb{Q}"),
    ("DNE", "exists"),
    ("2", r"2\mathrm{e}"),
    ("42", r"\text{42 or 43}"),
    ("42", r"\text{not 42}"),
    (r"\lg 2", r"\ln 2"),
    ("|x-1|", "1-x"),
    ("|x-y|", "y-x"),
    ("1:2:3", "1:3:2"),
    ("10:30", "1:3"),
    ("42", "42_5"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", "1,2"),
    ("\u662f", "\u5426"),
    ("3,-3", "3"),
    ("1,2,3", "1,2"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "1,2"),
    ("[1,2)", "[1,2]"),
    ("x>2", "x>3"),
    ("2x+3y=5", "4x+6y=11"),
    ("204_6", "204_5"),
    ("no", "on"),
    (r"\text{Friday}", "Sunday"),
    ("B", "A"),
    ("B", "A and B"),
    ("42", "<think>42"),
]


@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_equal_values_earn_one(gold: str, answer: str) -> None:
    grade = grade_accuracy(rf"<think>x</think>\boxed{{{answer}}}", gold)
    assert (grade.value, grade.outcome) == (1.0, "correct"), grade.reason


@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_other_values_earn_nothing(gold: str, answer: str) -> None:
    grade = grade_accuracy(rf"\boxed{{{answer}}}", gold)
    assert grade.value == 0.0, grade.reason


PLAIN = [
    ("42", "The answer is 42.", 1.0),
    ("42", "**42**", 1.0),
    ("42", "Answer: 42", 1.0),
    ("42", "Natalia sold 42 clips altogether.", 1.0),
    ("42", "Then 42 = 42, so she has $42$.", 0.0),
    ("42", "She has $42$ apples.", 1.0),
    ("42", "\u7b54\u6848\u662f42\u3002", 1.0),
    ("x+1", "The answer is $1+x$.", 1.0),
    ("Friday", "The answer is Friday.", 1.0),
    ("B", "The answer is (B).", 1.0),
    ("42", "not 42", 0.0),
    ("42", "41 or 42", 0.0),
    ("42", "41, 42", 0.0),
    ("42", "it is at least 42", 0.0),
    ("42", "40 and 2 make 42", 0.0),
    ("2", r"17 \bmod 5", 1.0),
    ("3", r"17 \bmod 5", 0.0),
    (r"x \equiv 3 \pmod{5}", r"x\equiv 8\pmod 5", 1.0),
    (r"x \equiv 3 \pmod{5}", r"8 \pmod{5}", 1.0),
    (r"x \equiv 3 \pmod{5}", r"x\equiv 8\pmod{10}", 0.0),
    (r"x \equiv 3 \pmod{5}", r"x\equiv 4\pmod 5", 0.0),
    (r"x \equiv 3 \pmod{5}", r"y\equiv 3\pmod 5", 0.0),
    ("(3,-1)", "x=3, y=-1", 1.0),
    ("(3,-1)", "y=-1, x=3", 1.0),
    ("(3,-1)", "(x,y)=(3,-1)", 1.0),
    ("(3,-1)", "P(3,-1)", 1.0),
    ("x=3,y=-1", "(3,-1)", 1.0),
    ("(3,-1)", "x=-1, y=3", 0.0),
    ("(3,-1)", "P(-1,3)", 0.0),
    ("(3,-1)", "x=3", 0.0),
    ("(3,-1)", "x=3, x=-1", 0.0),
    ("42", "forty-two", 1.0),
    ("42", "\u4e0d\u662f42", 0.0),
]


@pytest.mark.parametrize(("gold", "text", "value"), PLAIN)
def test_plain_text_has_to_state_one_answer(gold: str, text: str, value: float) -> None:
    grade = grade_accuracy(f"<think>x</think><answer>{text}</answer>", gold)
    assert grade.value == value, grade.reason


@pytest.mark.parametrize("gold", [None, "", "  ", float("nan"), True, ["42"]])
def test_a_gold_that_is_none_is_never_a_silent_zero(gold: object) -> None:
    grade = grade_accuracy(r"\boxed{42}", gold)
    assert (grade.value, grade.outcome) == (None, "ungradable_gold")


def test_a_gold_that_cannot_be_parsed_is_reported() -> None:
    grade = grade_accuracy(r"\boxed{x+1}", r"\frac{x}{")
    assert (grade.value, grade.outcome) == (None, "ungradable_gold")


@pytest.mark.parametrize(
    ("gold", "answer"), [(42, "42"), (51.0, "51"), (Fraction(1, 2), "0.5"), (1e-7, "0.0000001")]
)
def test_golds_may_be_numbers(gold: object, answer: str) -> None:
    assert grade_accuracy(rf"\boxed{{{answer}}}", gold).value == 1.0


def test_accuracy_follows_the_contract_of_trl() -> None:
    completions = ["2</think><answer>5</answer>", "<answer>5</answer>", "2</think>5"]
    prompts = ["2+3? <think>"] * 3
    values = accuracy(
        prompts=prompts, completions=completions, answer=["5"] * 3, completion_ids=[[1]] * 3
    )
    assert values == [1.0, 0.0, 0.0]


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a list of 2 entries, not 1"):
        accuracy(["a", "b"], ["5"])
    with pytest.raises(ValueError, match="not one value"):
        accuracy(["a", "b"], "55")
    with pytest.raises(ValueError, match="2 completions, but 1 prompts"):
        accuracy(["a", "b"], ["5", "5"], prompts=["<think>"])


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        *(("72", 1.0), ("72.0", 1.0), ("72 clips", 1.0), ("x=72", 1.0), ("48+24=72", 1.0)),
        *(("48+24", 0.0), ("2*36", 0.0), (r"\sqrt{5184}", 0.0), ("72=48+24", 0.0)),
        ("48+24=73", 0.0),
    ],
)
def test_worked_out_asks_for_a_number_where_the_gold_is_one(answer: str, value: float) -> None:
    text = rf"\boxed{{{answer}}}"
    assert grade_accuracy(text, "72", worked_out=True).value == value
    assert accuracy([text], ["72"], worked_out=True) == [value]
    assert grade_accuracy(r"\boxed{48+24}", "72").value == 1.0
