"""`think_format` and `tag_count`: rewards of the form of reasoning and answer.

`think_format` (DeepSeek-R1, arXiv 2501.12948, section 2.2.2) is 1 in the form of its profile:

    zero  `<think>reasoning</think> <answer>answer</answer>`: each tag once, in this order, neither
          part empty, only white space outside of them (Table 1)
    r1    `<think>reasoning</think> answer`: reasoning once, then an answer; neither empty

Tags are literal everywhere: a second one in a code block or in quotes counts. Where the template
puts `<think>` into the prompt, the completion begins inside the reasoning (`think_prefilled`).

    tag_count: R(y) = (number of tags that occur exactly once, and in order) / 4

The order is `<think>`, `</think>`, `<answer>`, `</answer>`. A tag that occurs twice earns nothing.
Of the others the longest run in order counts, so that four tags in a wrong order earn less than in
the right one (unlike open-r1's tag_count_reward in huggingface/open-r1, rewards.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from rewards.base import Grade, Outcome, reward
from rewards.transcript import CLOSE_THINK, OPEN_THINK, as_turns, whole_text

__all__ = ["PROFILES", "grade_format", "grade_tags", "tag_count", "think_format"]

PROFILES = ("zero", "r1")

_OPEN_ANSWER = "<answer>"
_CLOSE_ANSWER = "</answer>"
_TAGS = (OPEN_THINK, CLOSE_THINK, _OPEN_ANSWER, _CLOSE_ANSWER)


def _check_profile(options: Mapping[str, Any]) -> None:
    profile = options.get("profile", "zero")
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}; allowed: {', '.join(PROFILES)}")


@reward(options=("profile",), check_options=_check_profile)
def think_format(
    completions: Sequence[object],
    *,
    profile: str = "zero",
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    """Reward 1 for each completion in the form of `profile`, else 0.

    Raises:
        ValueError: an unknown profile.
    """
    _check_profile({"profile": profile})
    turns = as_turns(completions, think_prefilled, prompts)
    return [_format_grade(whole_text(*turn), profile) for turn in turns]


def grade_format(
    completion: object, *, profile: str = "zero", think_prefilled: bool | None = None
) -> Grade:
    """Return the grade of one completion by `think_format`."""
    return think_format.grades([completion], profile=profile, think_prefilled=think_prefilled)[0]


def _format_grade(text: str, profile: str) -> Grade:
    num_opened, num_closed = text.count(OPEN_THINK), text.count(CLOSE_THINK)
    if num_opened == 1 and num_closed == 0:
        return Grade.of(Outcome.TRUNCATED, "the reasoning was opened and never closed")
    if (num_opened, num_closed) != (1, 1):
        return Grade.of(
            Outcome.WRONG, f"{num_opened} <think> and {num_closed} </think>, not one of each"
        )
    before, _, rest = text.partition(OPEN_THINK)
    thought, closed, after = rest.partition(CLOSE_THINK)
    if not closed:
        return Grade.of(Outcome.WRONG, "</think> comes before <think>")
    if before.strip():
        return Grade.of(Outcome.WRONG, "text before the reasoning")
    if not thought.strip():
        return Grade.of(Outcome.WRONG, "the reasoning is empty")
    if profile == "zero":
        return _tagged_answer_grade(after, text.count(_OPEN_ANSWER), text.count(_CLOSE_ANSWER))
    if not after.strip():
        return Grade.of(Outcome.NO_ANSWER, "no answer after the reasoning")
    return Grade.of(Outcome.CORRECT)


def _tagged_answer_grade(after: str, num_opened: int, num_closed: int) -> Grade:
    if (num_opened, num_closed) != (1, 1):
        outcome = Outcome.WRONG if num_opened and num_closed else Outcome.NO_ANSWER
        return Grade.of(
            outcome, f"{num_opened} <answer> and {num_closed} </answer>, not one of each"
        )
    bare = after.strip()
    if not (bare.startswith(_OPEN_ANSWER) and bare.endswith(_CLOSE_ANSWER)):
        return Grade.of(Outcome.WRONG, "text outside of reasoning and answer")
    if not bare[len(_OPEN_ANSWER) : -len(_CLOSE_ANSWER)].strip():
        return Grade.of(Outcome.NO_ANSWER, "the answer is empty")
    return Grade.of(Outcome.CORRECT)


@reward()
def tag_count(
    completions: Sequence[object],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    """Reward 0, 0.25, 0.5, 0.75 or 1 for each completion.

    tag_count(["<think>2+3 <answer>5</answer>"]) == [0.75]
    """
    turns = as_turns(completions, think_prefilled, prompts)
    return [_tag_grade(whole_text(*turn)) for turn in turns]


def grade_tags(completion: object, *, think_prefilled: bool | None = None) -> Grade:
    """Return the grade of one completion by `tag_count`."""
    return tag_count.grades([completion], think_prefilled=think_prefilled)[0]


def _tag_grade(text: str) -> Grade:
    positions = [text.find(tag) for tag in _TAGS if text.count(tag) == 1]
    num_in_order = max(
        size
        for size in range(len(positions) + 1)
        if any(list(some) == sorted(some) for some in combinations(positions, size))
    )
    return Grade(
        value=num_in_order / len(_TAGS),
        outcome=Outcome.CORRECT if num_in_order == len(_TAGS) else Outcome.WRONG,
        reason=f"{num_in_order} of {len(_TAGS)} tags once and in order",
    )
