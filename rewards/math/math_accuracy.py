r"""`accuracy`: 1 where an answer equals the gold, 0 where it does not, None where none can tell.

    completion -> extract (where the answer is) -> equality (no parser) -> a worker (Math-Verify)

Nearly all pairs are decided before a worker is asked, and none is started until one is. What was
asked is cached by content: the completions of a group repeat each other's answers.
"""

from __future__ import annotations

import math
import numbers
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from decimal import Decimal

from rewards.math.equality import Question, correct, decide, wrong
from rewards.math.extract import read_answer
from rewards.registry import check_flag, reward
from rewards.reward import Grade, Outcome, one_each
from rewards.transcript import as_turn, resolve_think_prefilled
from rewards.worker_pool.pool import WorkerPool

__all__ = ["accuracy", "forget_answers", "grade_accuracies", "grade_accuracy"]

_CACHE_SIZE = 65536

_POOL = WorkerPool(
    "rewards.math.formula_compare:compare_job",
    control=[r"\frac{1}{2}+x", "x+0.5"],
    control_value="equal",
)
_cache: OrderedDict[Question, Grade] = OrderedDict()
_cache_lock = threading.Lock()


def accuracy(
    completions: Sequence[object],
    answer: Sequence[object],
    *,
    think_prefilled: bool | Sequence[bool] | None = None,
    worked_out: bool = False,
    **columns: object,
) -> list[float | None]:
    r"""Is the answer of each completion right? A reward in TRL's form.

    `answer` holds the golds: text, LaTeX or numbers. None as a value: the gold cannot be read, or
    grading is broken. With `prompts` among the columns, `think_prefilled=None` looks at them.

        accuracy(["<think>2+3</think><answer>5</answer>"], ["5"]) == [1.0]

    `worked_out`: where the gold is a plain number, the answer has to be one too. Without it
    "48+24" is right where 72 is, and a policy asked for a sum learns to copy the question.

    Raises:
        ValueError: lengths differ, or a completion is neither a string nor a list of messages.
        WorkersUnavailable: Math-Verify is needed and cannot be imported.
    """
    prompts = columns.get("prompts")
    flags = resolve_think_prefilled(
        len(completions), think_prefilled, prompts if isinstance(prompts, Sequence) else None
    )
    grades = grade_accuracies(completions, answer, flags, worked_out=worked_out)
    return [grade.value for grade in grades]


def grade_accuracy(
    completion: object,
    answer: object,
    *,
    think_prefilled: bool | None = None,
    worked_out: bool = False,
) -> Grade:
    """`accuracy` of one completion, with its outcome and a reason in words."""
    flags = [bool(think_prefilled)]
    return grade_accuracies([completion], [answer], flags, worked_out=worked_out)[0]


@reward(
    "accuracy",
    value_range=(0.0, 1.0),
    columns=("answer",),
    options=("worked_out",),
    check_options=check_flag("worked_out"),
)
def grade_accuracies(
    completions: Sequence[object],
    answer: Sequence[object],
    think_prefilled: Sequence[bool],
    *,
    worked_out: bool = False,
) -> list[Grade]:
    """`grade_accuracy` for many at once: what needs a worker is asked of all workers together."""
    golds = one_each("answer", answer, len(completions))
    decisions = [
        _decide(completion, gold, is_open, worked_out)
        for completion, gold, is_open in zip(completions, golds, think_prefilled, strict=True)
    ]
    questions = dict.fromkeys(item for item in decisions if isinstance(item, Question))
    grades = _ask(questions) if questions else {}
    return [grades[item] if isinstance(item, Question) else item for item in decisions]


def forget_answers() -> None:
    """Empty the cache of what was asked; only a measurement wants that."""
    with _cache_lock:
        _cache.clear()


def _decide(
    completion: object, answer: object, think_prefilled: bool, worked_out: bool
) -> Grade | Question:
    gold = _gold_text(answer)
    if isinstance(gold, Grade):
        return gold
    stated = read_answer(as_turn(completion), think_prefilled)
    return stated if isinstance(stated, Grade) else decide(gold, stated, worked_out)


def _gold_text(answer: object) -> str | Grade:
    """The gold as text: numbers are written out exactly, 51.0 as 51.0, 1e-7 as 0.0000001."""
    if isinstance(answer, str):
        stripped = answer.strip()
        return stripped or _ungradable("the gold answer is empty")
    if isinstance(answer, bool) or not isinstance(answer, numbers.Real):
        return _ungradable(f"the gold answer is {type(answer).__name__}, not text or a number")
    if isinstance(answer, numbers.Rational):
        return (
            f"{answer.numerator}/{answer.denominator}" if answer.denominator != 1 else str(answer)
        )
    value = float(answer)
    if not math.isfinite(value):
        return _ungradable(f"the gold answer is {value}")
    return format(Decimal(repr(value)), "f")


def _ungradable(reason: str) -> Grade:
    return Grade(value=None, outcome=Outcome.UNGRADABLE_GOLD, reason=reason)


def _ask(questions: Iterable[Question]) -> dict[Question, Grade]:
    with _cache_lock:
        known = {question: _cache[question] for question in questions if question in _cache}
    new = [question for question in questions if question not in known]
    replies = _POOL.ask_each(new)
    grades = {question: _grade(question, reply) for question, reply in replies.items()}
    with _cache_lock:
        for question, grade in grades.items():
            if grade.outcome is not Outcome.ERROR:
                _cache[question] = grade
        while len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
    return known | grades


def _grade(question: Question, reply: str | Grade) -> Grade:
    if isinstance(reply, Grade):
        return reply
    if reply == "equal":
        return correct(question.answer, question.gold)
    if reply == "bad_gold":
        return _ungradable(f"the gold answer cannot be parsed: {question.gold[:60]}")
    return wrong(question.answer, question.gold)
