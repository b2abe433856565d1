"""What a reward model thinks of texts: one number for each, higher is better.

score("runs/rm/model", [prompt + completion])  ->  [0.83]

The texts are rendered prompts with their completions, as the model was trained on them by `rlvr
sft` with `head: scalar`; each is closed with the end token once. Made for a worker on the CPU: the
model stays loaded for the next call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

__all__ = ["score"]

BATCH_SIZE = 16


def score(folder: str, texts: Sequence[str], *, max_tokens: int | None = None) -> list[float]:
    """The reward model's logit for each text, in their order.

    A text of more than `max_tokens` (null: what the model reads) loses its beginning.
    """
    model, tokenizer = _loaded(folder)
    limit = max_tokens or getattr(model.config, "max_position_embeddings", None)
    rows = [_ids(tokenizer, text, limit) for text in texts]
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    scores = [0.0] * len(rows)
    for start in range(0, len(rows), BATCH_SIZE):
        places = by_length[start : start + BATCH_SIZE]
        for place, value in zip(
            places, _scores(model, tokenizer, [rows[i] for i in places]), strict=True
        ):
            scores[place] = value
    return scores


@lru_cache(maxsize=2)
def _loaded(folder: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def _ids(tokenizer: Any, text: str, limit: int | None) -> list[int]:
    eos = tokenizer.eos_token
    starts_with_bos = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    ids = list(tokenizer(text, add_special_tokens=not starts_with_bos)["input_ids"])
    while ids and ids[-1] == tokenizer.convert_tokens_to_ids(eos):
        ids.pop()
    ids.append(tokenizer.eos_token_id)
    return ids[-limit:] if limit else ids


def _scores(model: Any, tokenizer: Any, rows: Sequence[list[int]]) -> list[float]:
    tokenizer.padding_side = "right"
    batch = tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt")
    with torch.inference_mode():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    values: list[float] = logits.squeeze(-1).tolist()
    return values
