# ruff: noqa: RUF001 - Chinese punctuation is meant
r"""`reasoning_steps`: the number of steps in a completion, up to a maximum.

    R(y) = min(1, number of steps / num_steps)

open-r1's reward (huggingface/open-r1, rewards.py, reasoning_steps_reward; 3 steps), in English and
in Chinese, except that it counts the different texts after a mark: "First, First, First," earns
nothing. It still rewards form alone: any three different sentences with a number before them earn
all of it. Give it a small weight.

Marks: "Step 1:"; "1.", "1)", "-", "*" and 一、 at the start of a line; "First,", "Second,",
"Then,", "Next,", "Finally,"; 步骤1, 第一步, 首先, 其次, 然后, 接着, 接下来, 最后.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.registry import reward
from rewards.reward import Grade, Outcome
from rewards.transcript import as_turn

__all__ = ["grade_steps", "reasoning_steps"]

_MARK = re.compile(
    r"^[ \t]{0,8}(?:\d{1,3}[.)](?!\d)|[-*\u2022](?![-*])|[一二三四五六七八九十]{1,3}、)"
    r"|\bStep \d{1,3}\s?[:.]"
    r"|\b(?:First|Firstly|Second|Secondly|Third|Thirdly|Then|Next|Finally|Lastly),"
    r"|步骤\s?[\d一二三四五六七八九十]{1,3}\s?[:：]?|第[\d一二三四五六七八九十]{1,3}步\s?[,，:：]?"
    r"|(?:首先|其次|然后|接着|接下来|最后)\s?[,，:：]?",
    re.MULTILINE,
)
_NOISE = re.compile(r"[\W_]+")
_MIN_STEP_CHARS = 2
_TAGS = re.compile(r"</?(?:think|answer)>")


def _check_steps(options: Mapping[str, Any]) -> None:
    num_steps = options.get("num_steps", 3)
    if isinstance(num_steps, bool) or not isinstance(num_steps, int) or num_steps < 1:
        raise ValueError(f"num_steps is {num_steps!r}; it must be a whole number above 0")


@reward(options=("num_steps",), check_options=_check_steps)
def reasoning_steps(
    completions: Sequence[object], *, num_steps: int = 3, **columns: object
) -> list[Grade]:
    """Reward the share of `num_steps` steps in each completion, at most 1.

        reasoning_steps(["1. add both\n2. halve it"], num_steps=4) == [0.5]

    Raises:
        ValueError: `num_steps` is not a positive whole number.
    """
    return [grade_steps(completion, num_steps=num_steps) for completion in completions]


def grade_steps(completion: object, *, num_steps: int = 3) -> Grade:
    """Return the grade of one completion by `reasoning_steps`."""
    _check_steps({"num_steps": num_steps})
    turn = as_turn(completion)
    text = _TAGS.sub("\n", turn.text if turn.thought is None else f"{turn.thought}\n{turn.text}")
    steps = (_NOISE.sub("", step).casefold() for step in _MARK.split(text)[1:])
    num_found = len({step for step in steps if len(step) >= _MIN_STEP_CHARS})
    return Grade(
        value=min(1.0, num_found / num_steps),
        outcome=Outcome.CORRECT if num_found >= num_steps else Outcome.WRONG,
        reason=f"{num_found} of {num_steps} steps",
    )
