"""The rows of a batch one after the other, for models that attend over packed rows on a CPU.

    rows --longest first--> [ row 0 | row 1 | ... | row 31 | filling ]    [1, N]

Only attention sees padding. A packed row consists of several texts, and none attends to others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlvr.learner.packing import TOKENS_MULTIPLE, pack_texts
from rlvr.stages.sft.row_encoding import IGNORED

__all__ = ["FlatRows"]

TEXTS_PER_BLOCK = 8  # that attention pads to the longest of them


@dataclass(frozen=True, slots=True)
class FlatRows:
    """Collator of rows with input_ids, labels, and seq_lengths if they are packed."""

    pad_token_id: int

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return input_ids, labels and position_ids [1, N], and `packed` for the attention."""
        by_length = sorted(rows, key=lambda row: -len(row["input_ids"]))
        ids = [token_id for row in by_length for token_id in row["input_ids"]]
        labels = [label for row in by_length for label in row["labels"]]
        lengths = [
            length
            for row in by_length
            for length in row.get("seq_lengths", [len(row["input_ids"])])
        ]
        if num_missing := -len(ids) % TOKENS_MULTIPLE:
            ids += [self.pad_token_id] * num_missing
            labels += [IGNORED] * num_missing
            lengths.append(num_missing)
        packed = pack_texts(lengths, texts_per_block=TEXTS_PER_BLOCK)
        is_first = packed.position_ids == 0  # no token predicts the first one of a text
        return {
            "input_ids": torch.tensor([ids]),
            "labels": torch.tensor([labels]).masked_fill_(is_first, IGNORED),
            "position_ids": packed.position_ids,
            "packed": packed,
        }
