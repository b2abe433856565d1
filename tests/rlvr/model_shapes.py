"""What the recipes' arithmetic needs to know of public models, none of which is here."""

from __future__ import annotations

from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.training_memory import ModelShape


def batch_of(config: SftConfig) -> int:
    return config.num_ranks * config.batch_size * config.gradient_accumulation


def shape_of(
    hidden: int,
    layers: int,
    intermediate: int,
    vocabulary: int,
    keys: int,
    *,
    is_tied: bool = False,
) -> ModelShape:
    return ModelShape(
        hidden=hidden,
        layers=layers,
        intermediate=intermediate,
        vocabulary=vocabulary,
        query_width=hidden,
        key_width=keys,
        is_tied=is_tied,
    )


SHAPES = {  # from the models' own config.json
    "Qwen/Qwen2.5-Math-1.5B": shape_of(1536, 28, 8960, 151936, 256, is_tied=True),
    "Qwen/Qwen2.5-Math-7B": shape_of(3584, 28, 18944, 152064, 512),
    "Qwen/Qwen2.5-14B": shape_of(5120, 48, 13824, 152064, 1024),
    "Qwen/Qwen2.5-32B": shape_of(5120, 64, 27648, 152064, 1024),
    "meta-llama/Llama-3.1-8B": shape_of(4096, 32, 14336, 128256, 1024),
    "meta-llama/Llama-3.3-70B-Instruct": shape_of(8192, 80, 28672, 128256, 1024),
    "Qwen/Qwen3-8B-Base": shape_of(4096, 36, 12288, 151936, 1024),
}
