"""Models and micro-batches small enough to compute each row alone, by the model's own logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    CodeGenConfig,
    CodeGenForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from rlvr.types import MicroBatch

TINY: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "initializer_range": 0.3,
    "eos_token_id": 0,
    "bos_token_id": 0,
    "pad_token_id": 0,
}

MODELS = ["qwen3", "qwen2-tied", "llama"]
PADDED_MODELS = ["mistral-sliding", "qwen2-sliding", "codegen"]  # without packed attention


def tiny_model(name: str) -> PreTrainedModel:
    """A model with 2 layers; the same weights at each call."""
    torch.manual_seed(0)
    match name:
        case "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**TINY, tie_word_embeddings=False))
        case "qwen2-tied":
            return Qwen2ForCausalLM(Qwen2Config(**TINY, tie_word_embeddings=True))
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=False))
        case "mistral-sliding":
            return MistralForCausalLM(MistralConfig(**TINY, sliding_window=4))
        case "qwen2-sliding":
            sliding = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}
            return Qwen2ForCausalLM(Qwen2Config(**TINY, **sliding))
        case _:  # does not use the attention interface of transformers
            shape = {"n_embd": 16, "n_inner": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 2}
            ends = {"bos_token_id": 0, "eos_token_id": 0}
            return CodeGenForCausalLM(CodeGenConfig(vocab_size=40, **shape, **ends))


def micro_batch_of(
    *groups: tuple[Sequence[int], Sequence[Sequence[int]]], block_sizes: Sequence[int] = ()
) -> MicroBatch:
    """Groups of a prompt and its completions, without advantages; one block by default."""
    prompts = [prompt for prompt, _ in groups]
    completions = [completion for _, completions in groups for completion in completions]
    index = [i for i, (_, completions) in enumerate(groups) for _ in completions]
    sizes = block_sizes or ([len(index)] if index else [])
    return MicroBatch(
        token_ids=np.array([t for tokens in [*prompts, *completions] for t in tokens], np.int32),
        prompt_lengths=np.array([len(prompt) for prompt in prompts], np.int32),
        prompt_index=np.array(index, np.int32),
        completion_lengths=np.array([len(tokens) for tokens in completions], np.int32),
        block_sizes=np.array(sizes, np.int32),
        loss_mask=np.ones(sum(map(len, completions)), np.bool_),
        rollout_logprobs=np.zeros(sum(map(len, completions)), np.float32),
        advantages=np.zeros(len(index), np.float32),
        row_weights=np.zeros(len(index), np.float32),
    )


def row_logprobs(
    model: PreTrainedModel,
    groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]],
    *,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies [M] from the model's own logits, one row at a time."""
    logprobs, entropies = [], []
    for prompt, completions in groups:
        for completion in completions:
            row = torch.tensor([[*prompt, *completion]])
            logits = model(row, use_cache=False).logits[0, len(prompt) - 1 : -1]
            rows = torch.log_softmax(logits.float() / temperature, -1)
            logprobs.append(rows.gather(1, torch.tensor(completion)[:, None]).squeeze(1))
            entropies.append(-(rows.exp() * rows).sum(-1))
    return torch.cat(logprobs), torch.cat(entropies)
