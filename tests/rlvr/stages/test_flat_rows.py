"""Batches without padding: their layout, and the loss of a model that attends over them."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen3Config, Qwen3ForCausalLM

from rlvr.learner.packed_attention import use_packed_attention
from rlvr.stages.sft.flat_rows import FlatRows
from rlvr.stages.sft.row_encoding import IGNORED


def test_rows_are_flat_with_the_longest_first_and_filled_to_64_tokens() -> None:
    rows = [
        {"input_ids": [5, 6], "labels": [IGNORED, 6]},
        {"input_ids": [7, 8, 9], "labels": [7, 8, 9]},
    ]
    batch = FlatRows(0)(rows)
    assert batch["input_ids"].tolist() == [[7, 8, 9, 5, 6, *[0] * 59]]
    assert batch["labels"].tolist() == [[IGNORED, 8, 9, IGNORED, 6, *[IGNORED] * 59]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, *range(59)]]


def test_a_packed_row_counts_as_its_texts() -> None:
    row = {"input_ids": [*range(1, 65)], "labels": [*range(1, 65)], "seq_lengths": [60, 4]}
    batch = FlatRows(0)([row])
    assert batch["position_ids"].tolist() == [[*range(60), 0, 1, 2, 3]]
    assert (batch["labels"][0] == IGNORED).nonzero().flatten().tolist() == [0, 60]


def test_the_loss_equals_that_of_each_row_alone() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2}
    model = Qwen3ForCausalLM(Qwen3Config(**sizes, **heads))
    rows = [torch.randint(1, 50, (n,)).tolist() for n in (3, 30, 12, 7, 9, 2, 25, 31, 5, 11)]
    alone = sum(
        cross_entropy(
            model(torch.tensor([row])).logits[0, :-1], torch.tensor(row[1:]), reduction="sum"
        )
        for row in rows
    )
    assert use_packed_attention(model)
    batch = FlatRows(0)([{"input_ids": row, "labels": row} for row in rows])
    labels = batch.pop("labels")
    logits = model(**batch, use_cache=False).logits
    flat = cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum", ignore_index=IGNORED)
    torch.testing.assert_close(flat, torch.as_tensor(alone), rtol=1e-5, atol=1e-4)
