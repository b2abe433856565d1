"""Rows of public sets of questions: AIME, GPQA, SVAMP, CMATH."""

from __future__ import annotations

import random
import re

from rlvr.data.tasks.columns import UnreadableRow, Values

__all__ = ["read_aime", "read_cmath", "read_gpqa", "read_svamp"]

LETTERS = "ABCD"


def read_aime(values: Values) -> Values:
    """AIME, any year: an integer from 0 to 999, in some files with zeros before it ("033")."""
    answer = str(values["answer"]).strip()
    if re.fullmatch(r"\d{1,3}", answer) is None:
        raise UnreadableRow(f"the answer {answer[:40]!r} is no integer from 0 to 999")
    return {**values, "answer": str(int(answer))}


def read_gpqa(values: Values) -> Values:
    """GPQA (Rein et al. 2023), for the reward multiple_choice.

    The right option stands first in the file: the order is drawn anew from the question's text, so
    that each row has the same one in every run. The last line's form is that of DeepSeek-R1's
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
    """SVAMP (Patel et al. 2021): the situation and the question stand apart, golds are floats."""
    body, question = str(values["body"]).strip(), str(values["prompt"]).strip()
    joint = " " if body.endswith((".", "?", "!", ",")) else ", " if question[:1].islower() else ". "
    try:
        number = float(values["answer"])
    except (TypeError, ValueError):
        raise UnreadableRow(f"the answer {values['answer']!r} is no number") from None
    gold = str(int(number)) if number.is_integer() else repr(number)
    return {"prompt": f"{body}{joint}{question}" if body else question, "answer": gold}


def read_cmath(values: Values) -> Values:
    """CMATH (Wei et al. 2023): Chinese, primary school; golds are numbers as text."""
    answer = str(values["answer"]).strip()
    if not answer:
        raise UnreadableRow("the answer is empty")
    return {"prompt": values["prompt"], "answer": answer, "language": "zh"}
