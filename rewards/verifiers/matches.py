r"""`exact_match` and `regex_match`: 1 where an answer equals a text or matches a pattern, else 0.

    completion -> the last \boxed{}, else <answer>, else the text after the reasoning; stripped

`exact_match` compares text, not values: "0.5" is not "1/2". `regex_match` applies Python's
`re.fullmatch` with the row's pattern; flags are written in the pattern, "(?i)yes|no". A pattern can
take forever on an answer, so it runs in a child that is killed after a deadline
(rewards.worker_pool.pool): such an answer is wrong, with the outcome timeout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.base import Grade, Outcome, check_flag, one_each, reward
from rewards.math.extract import answer_part, last_boxed
from rewards.transcript import Turn, as_turns
from rewards.worker_pool.pool import WorkerPool

__all__ = ["exact_match", "grade_exact", "grade_regex", "match_job", "regex_match"]

MAX_CHARS = 20_000  # of an answer

_POOL = WorkerPool(
    "rewards.verifiers.matches:match_job", control=["a+", "aa"], control_value="match"
)


@reward(columns=("answer",), options=("ignore_case",), check_options=check_flag("ignore_case"))
def exact_match(
    completions: Sequence[object],
    answer: Sequence[object],
    *,
    ignore_case: bool = False,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    """Reward 1 for each answer that equals the text in `answer`, else 0.

    White space around both is ignored. None where the gold answer is not text.

        exact_match(["<answer> Paris </answer>"], ["Paris"]) == [1.0]
    """
    turns = as_turns(completions, think_prefilled, prompts)
    rows = zip(turns, one_each("answer", answer, len(completions)), strict=True)
    return [_compare(_answer(*turn), gold, ignore_case) for turn, gold in rows]


def grade_exact(
    completion: object,
    answer: object,
    *,
    ignore_case: bool = False,
    think_prefilled: bool | None = None,
) -> Grade:
    """Return the grade of one completion by `exact_match`."""
    return exact_match.grades(
        [completion], [answer], ignore_case=ignore_case, think_prefilled=think_prefilled
    )[0]


@reward(columns=("pattern",), options=("pattern",))
def regex_match(
    completions: Sequence[object],
    pattern: str | Sequence[str],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    r"""Reward 1 for each answer that matches `pattern`, one or one per completion, else 0.

    None where the pattern is invalid.

        regex_match(["<answer>2024-02-29</answer>"], r"\d{4}-\d\d-\d\d") == [1.0]

    Raises:
        WorkersUnavailable: a child process cannot be started.
    """
    answers = [_answer(*turn) for turn in as_turns(completions, think_prefilled, prompts)]
    golds = one_each("pattern", pattern, len(completions), shared=True)
    rows = list(zip(golds, answers, strict=True))
    results = _POOL.ask_each(
        (gold, answer) for gold, answer in rows if isinstance(gold, str) and isinstance(answer, str)
    )
    return [_match(gold, answer, results) for gold, answer in rows]


def grade_regex(completion: object, pattern: str, *, think_prefilled: bool | None = None) -> Grade:
    """Return the grade of one completion by `regex_match`."""
    return regex_match.grades([completion], pattern, think_prefilled=think_prefilled)[0]


def match_job(payload: Any) -> str:
    """Return "match", "none" or "bad_pattern" for a pattern and a text; runs in a worker."""
    pattern, text = payload
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return "bad_pattern"
    return "match" if compiled.fullmatch(text) else "none"


def _answer(turn: Turn, think_prefilled: bool) -> str | Grade:
    part = answer_part(turn, think_prefilled)
    if isinstance(part, Grade):
        return part
    boxed = last_boxed(part[0])
    text = part[0].strip() if boxed is None else boxed
    if len(text) > MAX_CHARS:
        return Grade.of(Outcome.WRONG, f"longer than {MAX_CHARS} characters")
    return text or Grade.of(Outcome.NO_ANSWER, "the answer is empty")


def _compare(answer: str | Grade, gold: object, ignore_case: bool) -> Grade:
    if not isinstance(gold, str) or not gold.strip():
        reason = f"the gold answer is {gold!r:.60}, not text"
        return Grade.of(Outcome.UNGRADABLE_GOLD, reason)
    if isinstance(answer, Grade):
        return answer
    pair = answer, gold.strip()
    if ignore_case:
        pair = answer.casefold(), gold.strip().casefold()
    if pair[0] == pair[1]:
        return Grade.of(Outcome.CORRECT)
    return Grade.of(Outcome.WRONG, f"{answer!r:.60} is not {gold!r:.60}")


def _match(
    pattern: object, answer: str | Grade, results: Mapping[tuple[str, str], str | Grade]
) -> Grade:
    if not isinstance(pattern, str):
        return Grade.of(Outcome.UNGRADABLE_GOLD, f"the pattern is {pattern!r:.60}, not text")
    if isinstance(answer, Grade):
        return answer
    result = results[pattern, answer]
    if isinstance(result, Grade):
        return result
    if result == "bad_pattern":
        reason = f"{pattern!r:.60} is not a regular expression"
        return Grade.of(Outcome.UNGRADABLE_GOLD, reason)
    if result == "match":
        return Grade.of(Outcome.CORRECT)
    return Grade.of(Outcome.WRONG, f"{answer!r:.60} does not match {pattern!r:.60}")
