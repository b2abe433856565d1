"""vLLM's arguments, in the one place that names them; vLLM 0.26 to 0.33 know all of these."""

from __future__ import annotations

from typing import Any

from vllm import SamplingParams
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind

from rlvr.rollout.engine_requests import EngineSpec, SamplingSpec

__all__ = ["engine_args", "probe_params", "sampling_params"]


def engine_args(spec: EngineSpec) -> dict[str, Any]:
    """Arguments of `vllm.EngineArgs`."""
    args: dict[str, Any] = {
        "model": spec.model_path,
        "dtype": spec.dtype,
        "seed": spec.seed,
        "max_model_len": spec.max_model_tokens,
        "max_num_seqs": spec.max_concurrent,
        "tensor_parallel_size": spec.tensor_parallel,
        "kv_cache_memory_bytes": spec.kv_cache_bytes,
        "gpu_memory_utilization": 0.05,  # only what must be free at the start: the size is given
        # Log-probs of the distribution that was sampled from; the default gives them before the
        # temperature.
        "logprobs_mode": "processed_logprobs",
        # a model's own defaults (top-p and the like) must not change the policy
        "generation_config": "vllm",
        "enable_prefix_caching": True,  # the prompt of a group is computed once
        "skip_tokenizer_init": not spec.has_stop_strings,
        "worker_extension_cls": "rlvr.weight_sync.worker_extension.WeightSyncWorker",
        "disable_log_stats": True,
        "trust_remote_code": spec.trust_remote_code,
    }
    if current_platform.is_cpu():
        args |= _cpu_args(spec)
    return args


def _cpu_args(spec: EngineSpec) -> dict[str, Any]:
    """Eager mode, and whole prompts only: a prompt cut in two ends in "CPU Generator does not use
    offset".
    """
    return {
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(8192, spec.max_model_tokens),
    }


def sampling_params(sampling: SamplingSpec, *, seed: int) -> SamplingParams:
    """Parameters of one completion; the end-of-sequence token stays in it, and so does a stop
    string.
    """
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=seed,
        stop=list(sampling.stop) or None,
        include_stop_str_in_output=True,
        stop_token_ids=list(sampling.stop_token_ids),
        logprobs=0,
        flat_logprobs=True,
        detokenize=bool(sampling.stop),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def probe_params() -> SamplingParams:
    """Parameters that ask for the log-probs of the prompt itself."""
    return SamplingParams(temperature=1.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
