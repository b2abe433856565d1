"""The toy world's base model: a byte-level BPE tokenizer, and Qwen3 with new weights from a seed.

Digits are single tokens, so arithmetic has one tokenization. Tags such as <think> become one token
each, but not special tokens: `skip_special_tokens` keeps them, and a model has to learn them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from rlvr.toy.corpus import documents
from rlvr.toy.programs import program_task
from rlvr.toy.toy_requests import request_task

__all__ = ["EOS_TOKEN", "PAD_TOKEN", "SIZES", "make_model", "make_tokenizer"]

EOS_TOKEN = "<|endoftext|>"
PAD_TOKEN = "<|pad|>"
VOCAB_SIZE, NUM_DOCUMENTS, NUM_REQUESTS = 640, 6000, 300

# A digit, a tag, a code fence, a comma or a word with the following blank, Chinese, any character.
_PIECES = r"\d| ?</?[a-z]+>|```python\n|\n```|[,;] |[A-Za-z]+ ?|[\u4e00-\u9fff]+|[\s\S]"


def make_tokenizer(*, seed: int = 0, vocab_size: int = VOCAB_SIZE) -> PreTrainedTokenizerFast:
    """Train on 6,000 documents of the corpus and 300 tasks of each other family (about a second).

    The families are included because a tokenizer's text is broader than its model's.
    """
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS_TOKEN, PAD_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS_TOKEN,
        pad_token=PAD_TOKEN,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def _texts(seed: int) -> Iterator[str]:
    yield from islice(documents(seed), NUM_DOCUMENTS)
    for index in range(NUM_REQUESTS):
        request = request_task(index, seed=seed)
        yield from (str(request.prompt), request.columns["reply"])
        yield str(program_task(index, seed=seed).prompt)


SIZES: dict[str, dict[str, int]] = {  # about a million parameters, and a quarter of that
    "toy": {},
    "toy_small": {"hidden_size": 64, "num_layers": 4, "intermediate_size": 192, "num_heads": 2},
}


def make_model(
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int = 0,
    hidden_size: int = 128,
    num_layers: int = 5,
    num_heads: int = 4,
    num_kv_heads: int = 2,
    intermediate_size: int = 384,
    max_positions: int = 4096,
) -> Qwen3ForCausalLM:
    """Return a new fp32 model for the tokenizer, with tied embeddings."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_kv_heads,
        head_dim=hidden_size // num_heads,
        intermediate_size=intermediate_size,
        max_position_embeddings=max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        initializer_range=0.05,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config).float()
