"""`tag_count`: a quarter for each of the four tags of the form, for bases that never write them.

    R(y) = (number of tags that stand once, and in order) / 4

The order is `<think>`, `</think>`, `<answer>`, `</answer>`. A tag that stands twice earns nothing:
more tags never earn more. Of those that stand once, the most that are in order count, so that the
right four the wrong way round earn less than in order (in open-r1, huggingface/open-r1, rewards.py,
tag_count_reward, they do not). All of it says nothing of what the tags hold: that is think_format.
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

__all__ = ["grade_tags", "tag_count"]

_TAGS = (OPEN_THINK, CLOSE_THINK, "<answer>", "</answer>")


def tag_count(
    completions: Sequence[object],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[float | None]:
    """0, 0.25, 0.5, 0.75 or 1 a completion; never None.

    tag_count(["<think>2+3 <answer>5</answer>"]) == [0.75]
    """
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    return [
        grade_tags(completion, think_prefilled=is_open).value
        for completion, is_open in zip(completions, flags, strict=True)
    ]


def grade_tags(completion: object, *, think_prefilled: bool | None = None) -> Grade:
    """`tag_count` of one completion."""
    text = whole_text(as_turn(completion), bool(think_prefilled))
    positions = [text.find(tag) for tag in _TAGS if text.count(tag) == 1]
    num_in_order = _longest_rise(positions)
    return Grade(
        value=num_in_order / len(_TAGS),
        outcome=Outcome.CORRECT if num_in_order == len(_TAGS) else Outcome.WRONG,
        reason=f"{num_in_order} of {len(_TAGS)} tags once and in order",
    )


def _longest_rise(positions: Sequence[int]) -> int:
    """The length of the longest increasing subsequence."""
    lengths: list[int] = []
    for index, position in enumerate(positions):
        before = [lengths[i] for i in range(index) if positions[i] < position]
        lengths.append(1 + max(before, default=0))
    return max(lengths, default=0)
