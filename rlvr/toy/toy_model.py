"""The toy world's model: Qwen3's architecture, about a million parameters, weights from a seed."""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

__all__ = ["SIZES", "make_model"]

SIZES: dict[str, dict[str, int]] = {
    "toy": {},
    "toy_small": {"hidden_size": 64, "num_layers": 4, "intermediate_size": 192, "num_heads": 2},
}
"""Names of new models in recipes; the small one has a quarter of the parameters."""


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
        model = Qwen3ForCausalLM(config)
    return model.float()
