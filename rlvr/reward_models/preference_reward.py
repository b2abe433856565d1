"""Rewards from a reward model: human preference, for tasks that no rule can verify.

DeepSeek-R1 (arXiv 2501.12948, section 2.3.4): helpfulness is judged on the final summary alone, to
leave the reasoning free; harmlessness on the whole reply, reasoning included.

    rewards:
      rlvr.reward_models.preference_reward:preference:
        {model: runs/rm/model, part: answer, only: {kind: general}}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rewards.transcript import after_thought, as_turn, resolve_think_prefilled, whole_text
from rlvr.data.model_files import resolve_model

__all__ = ["harmlessness", "judged_text", "preference", "score"]

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
    """Return sigmoid(r) in (0, 1) of the reward model's logit r for each completion.

    A completion whose reasoning never ends earns 0.

    completions: texts or chat messages. prompts: after the template. model: folder of a reward
    model (`rlvr sft` with `head: scalar`). part: "answer" scores the text after the reasoning,
    "whole" the reasoning too. think_prefilled: whether the prompts end in an open <think>; None:
    detected from them.

    Raises ValueError: an unknown part, or prompts that are not texts.
    """
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; allowed: {', '.join(PARTS)}")
    if prompts is None or not all(isinstance(prompt, str) for prompt in prompts):
        raise ValueError("prompts must be rendered texts, one per completion")
    opened = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    texts = [
        judged_text(prompt, completion, part=part, think_prefilled=is_open)
        for prompt, completion, is_open in zip(prompts, completions, opened, strict=True)
    ]
    complete = [text for text in texts if text is not None]
    scores = iter(score(model, complete) if complete else [])
    return [0.0 if text is None else _sigmoid(next(scores)) for text in texts]


def harmlessness(
    completions: Sequence[Any],
    prompts: Sequence[Any] | None = None,
    *,
    model: str,
    think_prefilled: Any = None,
    **columns: Any,
) -> list[float | None]:
    """Return `preference` of the whole replies; a second name, so that a recipe can use both."""
    return preference(
        completions, prompts, model=model, part="whole", think_prefilled=think_prefilled
    )


preference.value_range = (0.0, 1.0)  # type: ignore[attr-defined]
harmlessness.value_range = (0.0, 1.0)  # type: ignore[attr-defined]
preference.is_tried = harmlessness.is_tried = False  # type: ignore[attr-defined]  # loads a model


def judged_text(prompt: str, completion: Any, *, part: str, think_prefilled: bool) -> str | None:
    """Return the reward model's input, or None if the reasoning never ends."""
    turn = as_turn(completion)
    answer = after_thought(turn, think_prefilled)
    if answer is None:
        return None
    if part == "answer":
        before, opened, after = prompt.rpartition("<think>")
        is_open = opened and not after.strip()  # a prefill: "<think>\n"
        return (before if is_open else prompt) + answer.strip()
    return prompt + (turn.text if turn.thought is None else whole_text(turn, think_prefilled))


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value > -700 else 0.0


def score(folder: str, texts: Sequence[str], *, max_tokens: int | None = None) -> list[float]:
    """Return the reward model's logit for each text, on the CPU.

    The texts are rendered prompts with their completions, as in the model's training; exactly one
    end token is appended to each. A text of more than `max_tokens` (None: the model's context
    length) loses its beginning. Texts are scored one by one: in a padded batch the last digits of a
    score depend on the other texts, and on a CPU a batch is not faster.
    """
    import torch

    model, tokenizer = _load(folder)
    limit = max_tokens or getattr(model.config, "max_position_embeddings", None)
    scores = []
    for text in texts:
        ids = torch.tensor([_token_ids(tokenizer, text, limit)])
        with torch.inference_mode():
            scores.append(float(model(ids).logits.squeeze()))
    return scores


@lru_cache(maxsize=2)
def _load(folder: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path = resolve_model(folder, key="model")
    model = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(path)


def _token_ids(tokenizer: Any, text: str, limit: int | None) -> list[int]:
    has_bos = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    ids = list(tokenizer(text, add_special_tokens=not has_bos)["input_ids"])
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    ids.append(tokenizer.eos_token_id)
    return ids[-limit:] if limit else ids
