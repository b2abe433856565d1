"""Will it fit? An estimate of host memory for runs without a GPU, made before anything is
loaded.
"""

from __future__ import annotations

from rlvr.config import GenerationStageConfig
from rlvr.errors import ConfigError
from rlvr.grpo.grpo_config import GrpoConfig

__all__ = ["check_memory", "needed_bytes"]

PROCESS_BYTES = (
    700 << 20
)  # an actor with torch and vLLM or DeepSpeed imported, measured as resident memory


def needed_bytes(config: GenerationStageConfig, *, weights_bytes: int) -> int:
    """Host memory of a CPU run: learner ranks, reference, engines with their caches, weights on
    their way.

    AdamW keeps two moments and the gradient beside the weights, all in float32: 4 times the float32
    weights, or 1 + 3 / num_ranks times where ZeRO shares them out. A bfloat16 run adds a float32
    copy.
    """
    cache = int(config.rollout.kv_cache_gib * (1 << 30))
    engines = config.rollout.num_engines * (weights_bytes + cache + PROCESS_BYTES)
    learners = _learner_bytes(config, weights_bytes) if isinstance(config, GrpoConfig) else 0
    return learners + engines + 2 * weights_bytes


def _learner_bytes(config: GrpoConfig, weights_bytes: int) -> int:
    ranks = config.learner.num_ranks
    master = weights_bytes * (1 if config.model.dtype == "float32" else 2)
    states = 3 * master // (ranks if config.learner.zero_stage else 1)
    reference = weights_bytes if config.loss.beta > 0 else 0
    return ranks * (master + states + reference + PROCESS_BYTES)


def check_memory(config: GenerationStageConfig, *, weights_bytes: int) -> None:
    """Raises ConfigError where the estimate is over what is free on this machine."""
    import psutil

    needed, free = (
        needed_bytes(config, weights_bytes=weights_bytes),
        psutil.virtual_memory().available,
    )
    if needed > free:
        raise ConfigError(
            f"memory: this run needs about {needed / 2**30:.1f} GiB of host memory, "
            f"{free / 2**30:.1f} GiB are "
            "free; lower rollout.kv_cache_gib, rollout.num_engines or learner.num_ranks, or take "
            "a smaller model"
        )
