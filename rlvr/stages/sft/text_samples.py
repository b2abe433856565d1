"""Samples of a trained model: it continues the starts of some rows.

prompt and completion   the start is the prompt, as the model was trained on it
plain text              the start is the whole lines of the first half, or the first half
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from rlvr.stages.sft.row_encoding import IGNORED

__all__ = ["TextSample", "sample_texts", "start_of"]

MAX_NEW_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSample:
    """`TextSample(start="User: 2+3?\\nAssistant:", continuation=" 5")`."""

    start: str
    continuation: str  # up to the end token, or MAX_NEW_TOKENS tokens of it

    def __str__(self) -> str:
        return f"{self.start}▶{self.continuation}"


def sample_texts(
    model: Any, tokenizer: Any, rows: Any, *, num_samples: int, seed: int
) -> list[TextSample]:
    """Sample at temperature 1 from evenly spaced rows with input_ids and labels."""
    model.set_attn_implementation("sdpa")  # packed attention has no cache
    model.eval()
    samples = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for number in range(min(num_samples, len(rows))):
            row = rows[number * len(rows) // num_samples]
            start = start_of(tokenizer, row["input_ids"], row["labels"])
            samples.append(_continued(model, tokenizer, start))
    return samples


def start_of(tokenizer: Any, input_ids: list[int], labels: list[int]) -> str:
    """Return the text of a row that a model is to continue."""
    num_prompt_tokens = next((i for i, label in enumerate(labels) if label != IGNORED), 0)
    if num_prompt_tokens:
        return str(tokenizer.decode(input_ids[:num_prompt_tokens]))
    text = str(tokenizer.decode(input_ids, skip_special_tokens=True))
    half = text[: len(text) // 2 + 1]
    lines, line_break, _ = half.rpartition("\n")
    return lines + line_break or half


def _continued(model: Any, tokenizer: Any, start: str) -> TextSample:
    ids = tokenizer(start, return_tensors="pt", add_special_tokens=False)["input_ids"]
    written = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=torch.ones_like(ids, device=model.device),
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        pad_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )[0, ids.shape[1] :]
    return TextSample(start=start, continuation=tokenizer.decode(written, skip_special_tokens=True))
