"""Scores of a reward model: one number per text, higher is better.

score("runs/rm/model", [prompt + completion])  ->  [0.83]

The texts are rendered prompts with their completions, as in the model's training by `rlvr sft` with
`head: scalar`; exactly one end token is appended to each. The model runs on the CPU and stays
loaded for the next call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

__all__ = ["score"]

BATCH_SIZE = 16


def score(folder: str, texts: Sequence[str], *, max_tokens: int | None = None) -> list[float]:
    """Return the reward model's logit for each text.

    A text of more than `max_tokens` (None: the model's context length) loses its beginning.
    """
    model, tokenizer = _load(folder)
    limit = max_tokens or getattr(model.config, "max_position_embeddings", None)
    rows = [_token_ids(tokenizer, text, limit) for text in texts]
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    scores = [0.0] * len(rows)
    for start in range(0, len(rows), BATCH_SIZE):
        indices = by_length[start : start + BATCH_SIZE]
        batch = tokenizer.pad(
            {"input_ids": [rows[i] for i in indices]}, padding_side="right", return_tensors="pt"
        )
        with torch.inference_mode():
            logits = model(**batch).logits.squeeze(-1)
        for i, value in zip(indices, logits.tolist(), strict=True):
            scores[i] = value
    return scores


@lru_cache(maxsize=2)
def _load(folder: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def _token_ids(tokenizer: Any, text: str, limit: int | None) -> list[int]:
    has_bos = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    ids = list(tokenizer(text, add_special_tokens=not has_bos)["input_ids"])
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    ids.append(tokenizer.eos_token_id)
    return ids[-limit:] if limit else ids
