"""An estimate of the memory of training, checked before the model is loaded.

weights + trained parameters (gradient, moments, float32 copy) + activations + logits
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import LoraSection
from rlvr.stages.sft.sft_plan import SftPlan

__all__ = [
    "ModelShape",
    "check_training_memory",
    "model_shape",
    "num_lora_params",
    "training_bytes",
]

# bytes per token, layer and unit of hidden size, in 16 bit (Korthikanti et al. 2022, equation 2,
# without the attention matrix, which is not stored)
ACTIVATION_BYTES = 34
INPUT_BYTES = 2  # with gradient checkpointing: the layer's input alone


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes of a decoder such as Llama or Qwen."""

    hidden: int
    layers: int
    intermediate: int
    vocabulary: int
    query_width: int  # number of heads times their size
    key_width: int
    is_tied: bool  # the embeddings are also the head

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
        """Parameters of all layers' matrices, which load_in_4bit quantizes."""
        return self.layers * sum(n * m for n, m in self.linears.values())

    @property
    def num_params(self) -> int:
        """With embeddings and head; without norms and biases, under a thousandth."""
        tables = 1 if self.is_tied else 2
        return self.num_linear_params + tables * self.vocabulary * self.hidden


def model_shape(path: str) -> ModelShape | None:
    """Read config.json, or return None for a model on the hub or of another architecture."""
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


def training_bytes(plan: SftPlan, shape: ModelShape, *, row_tokens: int) -> int:
    """Estimate the memory of one rank for rows of `row_tokens`.

    ZeRO shards moments (stage 1), gradients (2) and weights (3) over the ranks.
    """
    config = plan.config
    stage, ranks = config.deepspeed.zero_stage or 0, plan.num_ranks
    width = 2 if config.dtype == "bfloat16" else 4
    weights = shape.num_params * width
    if config.load_in_4bit:
        # NF4: half a byte, and 0.127 bits of constants (QLoRA, section 3, double quantization)
        linear = shape.num_linear_params
        weights = (shape.num_params - linear) * width + int(linear * (4 + 0.127) / 8)
    lora = config.lora
    trained = shape.num_params if lora is None else num_lora_params(shape, lora)
    moments = 2 * trained * (1 if config.optimizer == "adamw_8bit" else 4)
    master = 4 * trained if width == 2 else 0
    states = (moments + master) // (ranks if stage >= 1 else 1)
    gradients = 4 * trained // (ranks if stage >= 2 else 1)
    if config.deepspeed.offload_optimizer:
        states = 0
    if config.deepspeed.offload_param:
        weights = 0
    weights //= ranks if stage == 3 else 1
    tokens = plan.rank_batch_size * row_tokens
    layer = ACTIVATION_BYTES * tokens * shape.hidden * width // 2
    layer_input = INPUT_BYTES * tokens * shape.hidden * width // 2
    activations = shape.layers * layer
    if plan.gradient_checkpointing:
        activations = shape.layers * layer_input + layer
    needs_logits = config.distill is not None or config.label_smoothing > 0
    logits = 3 * 4 * tokens * shape.vocabulary if needs_logits else 0  # logits, log-probs, gradient
    return weights + states + gradients + activations + logits


def check_training_memory(plan: SftPlan, *, row_tokens: int, free_bytes: int) -> None:
    """Raise ConfigError if the estimate exceeds the free memory."""
    shape = model_shape(plan.weights)
    if shape is None:
        return
    needed = training_bytes(plan, shape, row_tokens=row_tokens)
    if needed > free_bytes:
        raise ConfigError(
            f"memory: training {shape.num_params / 1e9:.2f} billion parameters needs about "
            f"{needed / 2**30:.1f} GiB per rank, {free_bytes / 2**30:.1f} GiB are free; lower "
            "batch_size or max_tokens (raise gradient_accumulation), set gradient_checkpointing, "
            "lora or load_in_4bit, or use a smaller model"
        )
