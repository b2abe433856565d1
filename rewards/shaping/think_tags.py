"""`think_format`: 1 where a completion keeps the form of thought and answer, else 0.

    | profile | form                                                                              |
    |---------|-----------------------------------------------------------------------------------|
    | zero    | `<think>thought</think> <answer>answer</answer>`: each tag once, in this order,   |
    |         | neither part empty, nothing outside but white space                               |
    | r1      | `<think>thought</think> answer`: one thought, first, then an answer; neither empty |

Tags are literal wherever they stand: a second one in a code block or in quotes is a second one.
Where the template has put `<think>` into the prompt, the completion begins inside the thought
(`think_prefilled`). Source of the reward: DeepSeek-R1 (arXiv 2501.12948), section 2.2.2; of the
form: its Table 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.grades import Grade, Outcome
from rewards.transcript import (
    CLOSE_THINK,
    OPEN_THINK,
    as_turn,
    resolve_think_prefilled,
    whole_text,
)

__all__ = ["PROFILES", "check_profile", "grade_format", "grade_formats", "think_format"]

PROFILES = ("zero", "r1")

_OPEN_ANSWER = "<answer>"
_CLOSE_ANSWER = "</answer>"


def think_format(
    completions: Sequence[object],
    *,
    profile: str = "zero",
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[float | None]:
    """Does each completion keep the form of `profile`? A reward in TRL's form; never None.

    Raises:
        ValueError: an unknown profile, lengths that differ, or a completion of neither kind.
    """
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    return [grade.value for grade in grade_formats(completions, flags, profile=profile)]


def grade_format(
    completion: object, *, profile: str = "zero", think_prefilled: bool | None = None
) -> Grade:
    """`think_format` of one completion, with its outcome and a reason in words."""
    return grade_formats([completion], [bool(think_prefilled)], profile=profile)[0]


def grade_formats(
    completions: Sequence[object], think_prefilled: Sequence[bool], *, profile: str
) -> list[Grade]:
    """`grade_format` for many at once."""
    check_profile(profile)
    return [
        _grade(whole_text(as_turn(completion), is_open), profile)
        for completion, is_open in zip(completions, think_prefilled, strict=True)
    ]


def check_profile(profile: str) -> None:
    """Raises ValueError for a profile that does not exist."""
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}; allowed: {', '.join(PROFILES)}")


def _grade(text: str, profile: str) -> Grade:
    num_opened, num_closed = text.count(OPEN_THINK), text.count(CLOSE_THINK)
    if num_opened == 1 and num_closed == 0:
        return _refused("the thought was opened and never closed", Outcome.TRUNCATED)
    if (num_opened, num_closed) != (1, 1):
        return _refused(f"{num_opened} <think> and {num_closed} </think>, not one of each")
    before, _, rest = text.partition(OPEN_THINK)
    thought, closed, after = rest.partition(CLOSE_THINK)
    if not closed:
        return _refused("</think> stands before <think>")
    if before.strip():
        return _refused("text before the thought")
    if not thought.strip():
        return _refused("the thought is empty")
    if profile == "r1":
        return _grade_answer(after)
    return _grade_tagged_answer(after, text.count(_OPEN_ANSWER), text.count(_CLOSE_ANSWER))


def _grade_answer(after: str) -> Grade:
    if not after.strip():
        return _refused("no answer after the thought", Outcome.NO_ANSWER)
    return Grade(value=1.0, outcome=Outcome.CORRECT, reason="")


def _grade_tagged_answer(after: str, num_opened: int, num_closed: int) -> Grade:
    if (num_opened, num_closed) != (1, 1):
        kind = Outcome.WRONG if num_opened and num_closed else Outcome.NO_ANSWER
        return _refused(f"{num_opened} <answer> and {num_closed} </answer>, not one of each", kind)
    bare = after.strip()
    if not (bare.startswith(_OPEN_ANSWER) and bare.endswith(_CLOSE_ANSWER)):
        return _refused("text outside of thought and answer")
    if not bare[len(_OPEN_ANSWER) : -len(_CLOSE_ANSWER)].strip():
        return _refused("the answer is empty", Outcome.NO_ANSWER)
    return Grade(value=1.0, outcome=Outcome.CORRECT, reason="")


def _refused(reason: str, outcome: Outcome = Outcome.WRONG) -> Grade:
    return Grade(value=0.0, outcome=outcome, reason=reason)
