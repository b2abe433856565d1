r"""`accuracy`: 1 if the answer equals the gold, 0 if not, None if that cannot be decided.

    completion -> extract (the stated answer) -> equality (no parser) -> a worker (Math-Verify)

Nearly all pairs are decided without a worker, and no worker starts before a pair needs one. Results
of workers are cached, because the completions of a group repeat each other's answers.
"""

from __future__ import annotations

import math
import numbers
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from decimal import Decimal

from rewards.base import Grade, Outcome, check_flag, one_each, reward
from rewards.math.equality import AnswerPair, decide, grade_equality
from rewards.math.extract import read_answer
from rewards.transcript import as_turn, resolve_think_prefilled
from rewards.worker_pool.pool import WorkerPool

__all__ = ["accuracy", "clear_cache", "grade_accuracies", "grade_accuracy"]

_CACHE_SIZE = 65536

_POOL = WorkerPool(
    "rewards.math.formula_compare:compare_job",
    control=[r"\frac{1}{2}+x", "x+0.5"],
    control_value="equal",
)
_cache: OrderedDict[AnswerPair, Grade] = OrderedDict()
_cache_lock = threading.Lock()


@reward(columns=("answer",), options=("worked_out",), check_options=check_flag("worked_out"))
def accuracy(
    completions: Sequence[object],
    answer: Sequence[object],
    *,
    worked_out: bool = False,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    r"""Reward answers that equal the gold; a reward function in TRL's format.

    `answer` has the golds: text, LaTeX or numbers. A value is None if the gold cannot be parsed or
    grading fails.

        accuracy(["<think>2+3</think><answer>5</answer>"], ["5"]) == [1.0]

    With `worked_out`, the answer has to be a plain number if the gold is one. Otherwise "48+24"
    equals 72, and a policy asked for a sum learns to copy the question.

    Raises:
        ValueError: lengths differ, or a completion is neither a string nor a list of messages.
        WorkersUnavailable: Math-Verify is required and cannot be imported.
    """
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    return grade_accuracies(completions, answer, flags, worked_out=worked_out)


def grade_accuracy(
    completion: object,
    answer: object,
    *,
    think_prefilled: bool | None = None,
    worked_out: bool = False,
) -> Grade:
    """Grade one completion like `accuracy`, with an outcome and a reason."""
    flags = [bool(think_prefilled)]
    return grade_accuracies([completion], [answer], flags, worked_out=worked_out)[0]


def grade_accuracies(
    completions: Sequence[object],
    answer: Sequence[object],
    think_prefilled: Sequence[bool],
    *,
    worked_out: bool = False,
) -> list[Grade]:
    """Grade many completions at once; pairs for the parser are spread over all workers."""
    golds = one_each("answer", answer, len(completions))
    decisions = [
        _decide(completion, gold, is_open, worked_out)
        for completion, gold, is_open in zip(completions, golds, think_prefilled, strict=True)
    ]
    pairs = dict.fromkeys(item for item in decisions if isinstance(item, AnswerPair))
    grades = _compare_in_workers(pairs) if pairs else {}
    return [grades[item] if isinstance(item, AnswerPair) else item for item in decisions]


def clear_cache() -> None:
    """Empty the cache of worker results, for measurements."""
    with _cache_lock:
        _cache.clear()


def _decide(
    completion: object, answer: object, think_prefilled: bool, worked_out: bool
) -> Grade | AnswerPair:
    gold = _gold_text(answer)
    if isinstance(gold, Grade):
        return gold
    stated = read_answer(as_turn(completion), think_prefilled)
    return stated if isinstance(stated, Grade) else decide(gold, stated, worked_out)


def _gold_text(answer: object) -> str | Grade:
    """Return the gold as text; numbers are exact: 51.0 is "51.0", 1e-7 is "0.0000001"."""
    if isinstance(answer, str):
        return answer.strip() or _ungradable("the gold answer is empty")
    if isinstance(answer, bool) or not isinstance(answer, numbers.Real):
        return _ungradable(f"the gold answer is {type(answer).__name__}, not text or a number")
    if isinstance(answer, numbers.Rational):
        top, bottom = answer.numerator, answer.denominator
        return f"{top}/{bottom}" if bottom != 1 else str(answer)
    value = float(answer)
    if not math.isfinite(value):
        return _ungradable(f"the gold answer is {value}")
    return format(Decimal(repr(value)), "f")


def _ungradable(reason: str) -> Grade:
    return Grade.of(Outcome.UNGRADABLE_GOLD, reason)


def _compare_in_workers(pairs: Iterable[AnswerPair]) -> dict[AnswerPair, Grade]:
    with _cache_lock:
        known = {pair: _cache[pair] for pair in pairs if pair in _cache}
    replies = _POOL.ask_each(pair for pair in pairs if pair not in known)
    grades = {pair: _grade(pair, reply) for pair, reply in replies.items()}
    with _cache_lock:
        for pair, grade in grades.items():
            if grade.outcome is not Outcome.ERROR:
                _cache[pair] = grade
        while len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
    return known | grades


def _grade(pair: AnswerPair, reply: str | Grade) -> Grade:
    if isinstance(reply, Grade):
        return reply
    if reply == "bad_gold":
        return _ungradable(f"the gold answer cannot be parsed: {pair.gold[:60]}")
    return grade_equality(reply == "equal", pair.answer, pair.gold)
