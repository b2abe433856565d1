"""The starts of rows that a trained model continues, and the samples."""

from __future__ import annotations

import torch

from rlvr.learner.packed_attention import use_packed_attention
from rlvr.stages.sft.row_encoding import IGNORED
from rlvr.stages.sft.text_samples import sample_texts, start_of
from rlvr.toy.toy_model import make_model, make_tokenizer

TOKENIZER = make_tokenizer(seed=0)


def ids_of(text: str) -> list[int]:
    return [*TOKENIZER(text)["input_ids"], TOKENIZER.eos_token_id]


def test_a_row_with_a_prompt_starts_with_it() -> None:
    prompt, ids = ids_of("User: 2+3?\nAssistant:")[:-1], ids_of("User: 2+3?\nAssistant: 5")
    labels = [IGNORED] * len(prompt) + ids[len(prompt) :]
    assert start_of(TOKENIZER, ids, labels) == "User: 2+3?\nAssistant:"


def test_plain_text_starts_with_the_whole_lines_of_its_first_half() -> None:
    for text, start in {"1+1=2\n2+2=4\n3+3=6\n4+4=8": "1+1=2\n2+2=4\n", "123456": "1234"}.items():
        ids = ids_of(text)
        assert start_of(TOKENIZER, ids, ids) == start


def test_samples_come_from_evenly_spaced_rows_and_repeat_with_the_seed() -> None:
    model = make_model(TOKENIZER, hidden_size=32, num_layers=1, num_heads=2)
    assert use_packed_attention(model)
    texts = [ids_of(f"{i}\n{i}\n{i}") for i in range(4)]
    rows = [{"input_ids": ids, "labels": ids} for ids in texts]
    samples = sample_texts(model, TOKENIZER, rows, num_samples=2, seed=1)
    assert [sample.start for sample in samples] == ["0\n", "2\n"]
    state = torch.get_rng_state()
    assert sample_texts(model, TOKENIZER, rows, num_samples=2, seed=1) == samples
    assert torch.equal(torch.get_rng_state(), state)
