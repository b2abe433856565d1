"""A reward model as a reward: what people would prefer, where no rule can say what is right.

DeepSeek-R1 (arXiv 2501.12948, section 2.3.4): helpfulness is judged on the final summary alone, so
that the thought stays free; harmlessness on the whole reply, thought included.

    rewards:
      rlvr.reward_models.preference_reward:preference:
        {model: runs/rm/model, part: answer, only: {kind: general}}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rewards.transcript import after_thought, as_turn, resolve_think_prefilled, whole_text

__all__ = ["harmlessness", "judged_text", "preference"]

PARTS = ("answer", "whole")


def preference(
    completions: Sequence[Any],
    prompts: Sequence[Any] | None = None,
    *,
    model: str,
    part: str = "answer",
    think_prefilled: Any = None,
    **columns: Any,
) -> list[float | None]:
    """The reward model's opinion of each completion, sigmoid(r), in (0, 1).

    `model`: folder of a reward model (`rlvr sft` with `head: scalar`). `part`: "answer" is what
    comes after the thought, as for helpfulness; "whole" the thought too, as for harmlessness. A
    completion whose thought never ends earns 0.

    Raises:
        ValueError: another part, or prompts that are no texts.
    """
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; allowed: {', '.join(PARTS)}")
    if prompts is None or not all(isinstance(prompt, str) for prompt in prompts):
        raise ValueError("prompts are wanted as the model read them, one text a completion")
    opened = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    texts = [
        judged_text(prompt, completion, part=part, think_prefilled=is_open)
        for prompt, completion, is_open in zip(prompts, completions, opened, strict=True)
    ]
    from rlvr.reward_models.preference_model import score

    whole = [text for text in texts if text is not None]
    scores = iter(score(model, whole) if whole else [])
    return [0.0 if text is None else _sigmoid(next(scores)) for text in texts]


def harmlessness(
    completions: Sequence[Any],
    prompts: Sequence[Any] | None = None,
    *,
    model: str,
    think_prefilled: Any = None,
    **columns: Any,
) -> list[float | None]:
    """`preference` of a second model, on the whole reply, so that a recipe can have both."""
    return preference(
        completions, prompts, model=model, part="whole", think_prefilled=think_prefilled
    )


preference.value_range = (0.0, 1.0)  # type: ignore[attr-defined]
harmlessness.value_range = (0.0, 1.0)  # type: ignore[attr-defined]


def judged_text(prompt: str, completion: Any, *, part: str, think_prefilled: bool) -> str | None:
    """What the reward model reads; None where the thought never ends."""
    turn = as_turn(completion)
    rest = after_thought(turn, think_prefilled)
    if rest is None:
        return None
    if part == "answer":
        before, opened, behind = prompt.rpartition("<think>")
        is_open = opened and not behind.strip()  # a prefill: "<think>\n"
        return (before if is_open else prompt) + rest.strip()
    return prompt + (turn.text if turn.thought is None else whole_text(turn, think_prefilled))


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value > -700 else 0.0
