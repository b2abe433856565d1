r"""`exact_match` and `regex_match`: is an answer a text, or of a pattern?

    completion -> the last \boxed{}, else <answer>, else what follows the thought; stripped

`exact_match` compares text: no notation, no value; "0.5" is not "1/2". `regex_match` asks whether
Python's `re.fullmatch` finds the row's pattern in the whole answer; flags stand in the pattern,
"(?i)yes|no". A pattern may take forever on an answer that it was not written for, so it runs in a
child that is killed after a deadline (see rewards.worker_pool.pool): such an answer is wrong, and
the outcome is timeout.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rewards.grades import Grade, Outcome
from rewards.math.extract import answer_part, last_boxed
from rewards.transcript import Turn, as_turn, resolve_think_prefilled
from rewards.worker_pool.pool import Failure, Reply, WorkerPool

__all__ = [
    "exact_match",
    "grade_exact",
    "grade_exacts",
    "grade_regex",
    "grade_regexes",
    "match_job",
    "regex_match",
]

MAX_CHARS = 20_000  # of an answer

_POOL = WorkerPool(
    "rewards.verifiers.matches:match_job", control=["a+", "aa"], control_value="match"
)
_NO_ANSWER = Grade(value=0.0, outcome=Outcome.NO_ANSWER, reason="the answer is empty")
_RIGHT = Grade(value=1.0, outcome=Outcome.CORRECT, reason="")


def exact_match(
    completions: Sequence[object],
    answer: Sequence[object],
    *,
    ignore_case: bool = False,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[float | None]:
    """Is each answer the text in `answer`, white space around it aside? None: the gold is no text.

        exact_match(["<answer> Paris </answer>"], ["Paris"]) == [1.0]

    Raises:
        ValueError: lengths that differ, or a completion of neither kind.
    """
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    grades = grade_exacts(completions, answer, flags, ignore_case=ignore_case)
    return [grade.value for grade in grades]


def grade_exact(
    completion: object,
    answer: object,
    *,
    ignore_case: bool = False,
    think_prefilled: bool | None = None,
) -> Grade:
    """`exact_match` of one completion, with its outcome and a reason in words."""
    return grade_exacts([completion], [answer], [bool(think_prefilled)], ignore_case=ignore_case)[0]


def grade_exacts(
    completions: Sequence[object],
    answers: Sequence[object],
    think_prefilled: Sequence[bool],
    *,
    ignore_case: bool = False,
) -> list[Grade]:
    """`grade_exact` for many at once."""
    _check_column("answer", answers, len(completions))
    rows = zip(completions, answers, think_prefilled, strict=True)
    return [
        _compare(_answer(as_turn(completion), is_open), gold, ignore_case)
        for completion, gold, is_open in rows
    ]


def regex_match(
    completions: Sequence[object],
    pattern: str | Sequence[str],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[float | None]:
    r"""Does `pattern`, one or one a completion, match each whole answer? None: it is no pattern.

        regex_match(["<answer>2024-02-29</answer>"], r"\d{4}-\d\d-\d\d") == [1.0]

    Raises:
        ValueError: lengths that differ, or a completion of neither kind.
        WorkersUnavailable: a child process cannot be started.
    """
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    return [grade.value for grade in grade_regexes(completions, pattern, flags)]


def grade_regex(completion: object, pattern: str, *, think_prefilled: bool | None = None) -> Grade:
    """`regex_match` of one completion, with its outcome and a reason in words."""
    return grade_regexes([completion], pattern, [bool(think_prefilled)])[0]


def grade_regexes(
    completions: Sequence[object], patterns: str | Sequence[object], think_prefilled: Sequence[bool]
) -> list[Grade]:
    """`grade_regex` for many at once: each pair of pattern and answer is matched once."""
    golds = [patterns] * len(completions) if isinstance(patterns, str) else patterns
    _check_column("pattern", golds, len(completions))
    answers = [
        _answer(as_turn(completion), is_open)
        for completion, is_open in zip(completions, think_prefilled, strict=True)
    ]
    pairs = [
        (gold, answer)
        for gold, answer in zip(golds, answers, strict=True)
        if isinstance(gold, str) and isinstance(answer, str)
    ]
    asked = list(dict.fromkeys(pairs))
    replies = dict(zip(asked, _POOL.ask_all([list(pair) for pair in asked]), strict=True))
    return [_matched(gold, answer, replies) for gold, answer in zip(golds, answers, strict=True)]


def match_job(payload: Any) -> str:
    """`re.fullmatch` as a worker calls it: pattern and text in, a word out."""
    pattern, text = payload
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return "bad_pattern"
    return "match" if compiled.fullmatch(text) else "none"


def _check_column(name: str, golds: Sequence[object], num_completions: int) -> None:
    if isinstance(golds, str) or len(golds) != num_completions:
        found = "one string" if isinstance(golds, str) else f"{len(golds)}"
        raise ValueError(f"{name}: needs a list of {num_completions} golds, not {found}")


def _answer(turn: Turn, think_prefilled: bool) -> str | Grade:
    part = answer_part(turn, think_prefilled)
    if isinstance(part, Grade):
        return part
    boxed = last_boxed(part[0])
    text = part[0].strip() if boxed is None else boxed
    if len(text) > MAX_CHARS:
        return _wrong(f"longer than {MAX_CHARS} characters")
    return text or _NO_ANSWER


def _compare(answer: str | Grade, gold: object, ignore_case: bool) -> Grade:
    if not isinstance(gold, str) or not gold.strip():
        return _ungradable(f"the gold answer is {gold!r:.60}, not text")
    if isinstance(answer, Grade):
        return answer
    pair = answer, gold.strip()
    if ignore_case:
        pair = answer.casefold(), gold.strip().casefold()
    return _RIGHT if pair[0] == pair[1] else _wrong(f"{answer!r:.60} is not {gold!r:.60}")


def _matched(pattern: object, answer: str | Grade, replies: dict[tuple[str, str], Reply]) -> Grade:
    if not isinstance(pattern, str):
        return _ungradable(f"the pattern is {pattern!r:.60}, not text")
    if isinstance(answer, Grade):
        return answer
    reply = replies[pattern, answer]
    if reply.failure is Failure.OWN_FAULT:
        return Grade(value=0.0, outcome=Outcome.TIMEOUT, reason=reply.reason)
    if reply.failure is Failure.BROKEN:
        return Grade(value=None, outcome=Outcome.ERROR, reason=reply.reason)
    if reply.value == "bad_pattern":
        return _ungradable(f"{pattern!r:.60} is no regular expression")
    return _RIGHT if reply.value == "match" else _wrong(f"{answer!r:.60} is not {pattern!r:.60}")


def _wrong(reason: str) -> Grade:
    return Grade(value=0.0, outcome=Outcome.WRONG, reason=reason)


def _ungradable(reason: str) -> Grade:
    return Grade(value=None, outcome=Outcome.UNGRADABLE_GOLD, reason=reason)
