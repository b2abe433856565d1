"""Readers of data sets with a gold answer: GSM8K, MATH, Countdown, AIME, GPQA, SVAMP, CMATH."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from rewards.math.extract import last_boxed
from rlvr.data.rows import UnreadableRow

__all__ = [
    "read_aime",
    "read_cmath",
    "read_countdown",
    "read_generic",
    "read_gpqa",
    "read_gsm8k",
    "read_math",
    "read_svamp",
]

LETTERS = "ABCD"

Values = Mapping[str, Any]


def read_generic(values: Values) -> Values:
    """Prompt and answer as they are; a number becomes its text."""
    return {**values, "answer": _answer_text(values["answer"])} if "answer" in values else values


def read_gsm8k(values: Values) -> Values:
    """GSM8K (Cobbe et al. 2021): the gold follows the last "####", without thousands commas."""
    _, mark, gold = str(values["answer"]).rpartition("####")
    gold = gold.strip().replace(",", "").removeprefix("$")
    if not mark or re.fullmatch(r"-?\d+(\.\d+)?", gold) is None:
        raise UnreadableRow("the answer does not end in '#### NUMBER'")
    return {**values, "answer": gold}


def read_math(values: Values) -> Values:
    """MATH (Hendrycks et al. 2021): the answer, or the last box of the solution."""
    if "answer" in values:
        answer = _answer_text(values["answer"])
        return {**values, "answer": last_boxed(answer) or answer}
    gold = last_boxed(str(values["solution"]))
    if not gold:
        raise UnreadableRow(r"the solution has no \boxed{} with something in it")
    return {**values, "answer": gold}


def read_countdown(values: Values) -> Values:
    """Countdown as in TinyZero; `answer` is a reference solution, for rows that have one."""
    numbers, target = values["numbers"], values["target"]
    is_list = isinstance(numbers, list) and numbers
    if not is_list or not all(type(number) is int for number in [*numbers, target]):
        raise UnreadableRow(f"numbers {numbers!r} or target {target!r} are not integers")
    prompt = (
        f"Here are the numbers {', '.join(map(str, numbers))}. Combine them into an arithmetic "
        f"expression whose value is {target}. Only +, -, *, / and parentheses may be used, and "
        "each of the numbers must occur exactly once. Work it out within <think> </think>, then "
        "give the finished expression alone within <answer> </answer>, for example "
        "<answer>(1 + 2) / 3</answer>."
    )
    return {"prompt": prompt, **values}  # a mapped prompt column takes precedence


def read_aime(values: Values) -> Values:
    """AIME, any year: an integer from 0 to 999, in some files zero-padded ("033")."""
    answer = str(values["answer"]).strip()
    if re.fullmatch(r"\d{1,3}", answer) is None:
        raise UnreadableRow(f"the answer {answer[:40]!r} is no integer from 0 to 999")
    return {**values, "answer": str(int(answer))}


def read_gpqa(values: Values) -> Values:
    """GPQA (Rein et al. 2023), for the reward multiple_choice.

    The file lists the right option first. The options are shuffled with the question as the seed,
    so their order is the same in every run. The last line of the prompt follows DeepSeek-R1's
    evaluation (arXiv 2501.12948, appendix D).
    """
    question = str(values["prompt"]).strip()
    right = str(values["right"]).strip()
    options = [right, *(str(values[f"wrong_{i}"]).strip() for i in (1, 2, 3))]
    if not all(options) or len(set(options)) < len(options):
        raise UnreadableRow("two options are the same, or one is empty")
    random.Random(f"gpqa/{question}").shuffle(options)
    listed = "\n".join(f"{letter}) {text}" for letter, text in zip(LETTERS, options, strict=True))
    prompt = (
        f"{question}\n\n{listed}\n\nWork it out, and end with the line "
        '"Answer: LETTER", where LETTER is one of A, B, C, D.'
    )
    return {"prompt": prompt, "answer": LETTERS[options.index(right)]}


def read_svamp(values: Values) -> Values:
    """SVAMP (Patel et al. 2021): body and question in two columns, golds as floats."""
    body, question = str(values["body"]).strip(), str(values["prompt"]).strip()
    joint = " " if body.endswith((".", "?", "!", ",")) else ", " if question[:1].islower() else ". "
    try:
        number = float(values["answer"])
    except (TypeError, ValueError):
        raise UnreadableRow(f"the answer {values['answer']!r} is no number") from None
    gold = str(int(number)) if number.is_integer() else repr(number)
    return {"prompt": f"{body}{joint}{question}" if body else question, "answer": gold}


def read_cmath(values: Values) -> Values:
    """CMATH (Wei et al. 2023): Chinese primary school problems, golds as text."""
    answer = str(values["answer"]).strip()
    if not answer:
        raise UnreadableRow("the answer is empty")
    return {"prompt": values["prompt"], "answer": answer, "language": "zh"}


def _answer_text(answer: Any) -> Any:
    if answer is None or (isinstance(answer, str) and not answer.strip()):
        raise UnreadableRow("the answer is empty")
    if isinstance(answer, float) and answer.is_integer():
        return str(int(answer))
    return str(answer) if isinstance(answer, int | float) else answer
