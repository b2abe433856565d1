"""Will it fit? An estimate of the memory that training takes, before anything is loaded.

weights + what is trained (gradient, moments, float32 copy) + activations + whole logits
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import LoraSection, SftConfig

__all__ = [
    "ModelShape",
    "check_training_memory",
    "model_shape",
    "num_lora_params",
    "training_bytes",
]

# bytes for each token, layer and unit of hidden size, in 16 bit (Korthikanti et al. 2022, equation
# 2, without the attention matrix, which is not kept)
ACTIVATION_BYTES = 34
KEPT_BYTES = 2  # the layer's input alone, where activations are computed again


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Of a decoder such as Llama or Qwen."""

    hidden: int
    layers: int
    intermediate: int
    vocabulary: int
    query_width: int  # heads times their size
    key_width: int
    is_tied: bool  # embeddings serve as head

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a layer's matrices, by name."""
        return {
            "q_proj": (self.hidden, self.query_width),
            "k_proj": (self.hidden, self.key_width),
            "v_proj": (self.hidden, self.key_width),
            "o_proj": (self.query_width, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def num_linear_params(self) -> int:
        """In all layers' matrices: what 4 bit makes small."""
        return self.layers * sum(n * m for n, m in self.linears.values())

    @property
    def num_params(self) -> int:
        """With embeddings and head; norms and biases, under a thousandth, are left out."""
        tables = 1 if self.is_tied else 2
        return self.num_linear_params + tables * self.vocabulary * self.hidden


def model_shape(path: str) -> ModelShape | None:
    """From config.json; None where it is not here or of another kind."""
    file = Path(path) / "config.json"
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    try:
        heads = data["num_attention_heads"]
        head_dim = data.get("head_dim") or data["hidden_size"] // heads
        return ModelShape(
            hidden=data["hidden_size"],
            layers=data["num_hidden_layers"],
            intermediate=data["intermediate_size"],
            vocabulary=data["vocab_size"],
            query_width=heads * head_dim,
            key_width=(data.get("num_key_value_heads") or heads) * head_dim,
            is_tied=data.get("tie_word_embeddings", False),
        )
    except (KeyError, TypeError):
        return None


def num_lora_params(shape: ModelShape, lora: LoraSection) -> int:
    """r * (inputs + outputs) of each adapted matrix."""
    layers = shape.layers if lora.layers_to_transform is None else len(lora.layers_to_transform)
    sizes = (sum(shape.linears[name]) for name in lora.targets if name in shape.linears)
    return layers * lora.r * sum(sizes)


def training_bytes(
    config: SftConfig, shape: ModelShape, *, row_tokens: int, checkpointing: bool
) -> int:
    """Of one rank, for rows of `row_tokens`.

    ZeRO shares out moments (1), gradients (2) and weights (3) over num_ranks.
    """
    stage, ranks = config.deepspeed.zero_stage or 0, config.num_ranks
    width = 2 if config.dtype == "bfloat16" else 4
    weights = shape.num_params * width
    if config.load_in_4bit:
        # NF4: half a byte, and 0.127 bits of constants (QLoRA, section 3, double quantization)
        linear = shape.num_linear_params
        weights = (shape.num_params - linear) * width + int(linear * (4 + 0.127) / 8)
    trained = shape.num_params if config.lora is None else num_lora_params(shape, config.lora)
    moments = 2 * trained * (1 if config.optimizer == "adamw_8bit" else 4)
    master = 4 * trained if width == 2 else 0
    states = (moments + master) // (ranks if stage >= 1 else 1)
    gradients = 4 * trained // (ranks if stage >= 2 else 1)
    if config.deepspeed.offload_optimizer:
        states = 0
    if config.deepspeed.offload_param:
        weights = 0
    weights //= ranks if stage == 3 else 1
    activations = _activation_bytes(config, shape, row_tokens, checkpointing)
    return weights + states + gradients + activations


def _activation_bytes(
    config: SftConfig, shape: ModelShape, row_tokens: int, checkpointing: bool
) -> int:
    tokens = config.batch_size * row_tokens
    width = 2 if config.dtype == "bfloat16" else 4
    layer = ACTIVATION_BYTES * tokens * shape.hidden * width // 2
    kept = KEPT_BYTES * tokens * shape.hidden * width // 2
    layers = shape.layers * kept + layer if checkpointing else shape.layers * layer
    needs_logits = config.distill is not None or config.label_smoothing > 0
    logits = 3 * 4 * tokens * shape.vocabulary if needs_logits else 0  # logits, log-probs, gradient
    return layers + logits


def check_training_memory(
    config: SftConfig, path: str, *, row_tokens: int, free_bytes: int, checkpointing: bool
) -> None:
    """Raises ConfigError where the estimate is over what is free."""
    shape = model_shape(path)
    if shape is None:
        return
    needed = training_bytes(config, shape, row_tokens=row_tokens, checkpointing=checkpointing)
    if needed > free_bytes:
        raise ConfigError(
            f"memory: training {shape.num_params / 1e9:.2f} billion parameters needs about "
            f"{needed / 2**30:.1f} GiB a rank, {free_bytes / 2**30:.1f} GiB are free; lower "
            "batch_size or max_tokens (raise gradient_accumulation), set gradient_checkpointing, "
            "lora or load_in_4bit, or take a smaller model"
        )
