"""A model whose completions vary widely in length: random weights, constant stop probability.

    p(end of sequence) = 1 / mean at each token   =>   geometric lengths: deviation = mean

Architecture and size are those of the toy model with tied embeddings. Dimension 0 of the residual
stream is the same constant for every token and no layer writes to it; only the end-of-sequence row
of the embedding differs there, which shifts the logit of that token alone. Shifted far down, it is
never sampled, and every completion is as long as the limit allows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from rlvr.toy.toy_model import make_model, make_tokenizer

__all__ = ["make_wide_model"]

CONSTANT = 1.0  # of dimension 0; the others are about 0.05 in the embedding
NUM_PROBE_ROWS, PROBE_TOKENS = 16, 128
NEVER = -1e4  # factor of dimension 0 in the logit; exp of it is 0


def make_wide_model(
    folder: Path,
    *,
    mean_tokens: float | None,
    seed: int = 0,
    vocab_size: int | None = None,
    **sizes: int,
) -> None:
    """Write model and tokenizer to `folder`; `sizes` are passed to `make_model`.

    mean_tokens: mean length of a completion without a limit; None: it never ends. vocab_size: that
    of the model; tokens that the tokenizer lacks cost the same as others and are never sampled.
    """
    tokenizer = make_tokenizer(seed=seed)
    model = make_model(tokenizer, seed=seed, **sizes)
    if vocab_size is not None:
        model.resize_token_embeddings(vocab_size, mean_resizing=False)
    with torch.no_grad():
        _keep_dimension_0(model)
        model.get_input_embeddings().weight[len(tokenizer) :, 0] = NEVER
        if mean_tokens is None:
            model.get_input_embeddings().weight[tokenizer.eos_token_id, 0] = NEVER
        else:
            _shift_end_logit(model, tokenizer, mean_tokens=mean_tokens, seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _keep_dimension_0(model: Any) -> None:
    model.get_input_embeddings().weight[:, 0] = CONSTANT
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0.0
        layer.mlp.down_proj.weight[0] = 0.0


def _shift_end_logit(
    model: Any, tokenizer: PreTrainedTokenizerBase, *, mean_tokens: float, seed: int
) -> None:
    """Find the shift by bisection at which p(end) on random text is 1 / mean_tokens on average."""
    end = tokenizer.eos_token_id
    generator = torch.Generator().manual_seed(seed)
    shape = (NUM_PROBE_ROWS, PROBE_TOKENS)
    text = torch.randint(2, len(tokenizer), shape, generator=generator)  # neither end nor padding
    hidden = model.get_decoder()(input_ids=text, use_cache=False).last_hidden_state
    logits = model.get_output_embeddings()(hidden).flatten(0, 1)
    low, high = 0.0, 100.0
    for _ in range(60):
        shift = (low + high) / 2
        shifted = logits.clone()
        shifted[:, end] += hidden[..., 0].flatten() * shift
        is_too_small = float(shifted.softmax(-1)[:, end].mean()) < 1 / mean_tokens
        low, high = (shift, high) if is_too_small else (low, shift)
    model.get_input_embeddings().weight[end, 0] += low
