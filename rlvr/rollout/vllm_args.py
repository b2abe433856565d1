"""Arguments of vLLM, the same in vLLM 0.26 to 0.33."""

from __future__ import annotations

from typing import Any

from vllm import SamplingParams
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind

from rlvr.rollout.engine_requests import EngineSpec, SamplingSpec

__all__ = ["engine_args", "probe_params", "sampling_params"]


def engine_args(spec: EngineSpec) -> dict[str, Any]:
    """Return the arguments of `vllm.EngineArgs`."""
    args: dict[str, Any] = {
        "model": spec.model_path,
        "dtype": spec.dtype,
        "seed": spec.seed,
        "max_model_len": spec.max_model_tokens,
        "max_num_seqs": spec.max_concurrent,
        "tensor_parallel_size": spec.tensor_parallel,
        "kv_cache_memory_bytes": spec.kv_cache_bytes,
        "gpu_memory_utilization": 0.05,  # must be free at the start; the cache size is explicit
        "logprobs_mode": "processed_logprobs",  # after temperature and top-p
        "generation_config": "vllm",  # ignore the model's own sampling defaults
        "enable_prefix_caching": True,  # the prompt of a group is computed once
        "skip_tokenizer_init": not spec.has_stop_strings,
        "worker_extension_cls": "rlvr.weight_sync.worker_extension.WeightSyncWorker",
        "disable_log_stats": True,
        "trust_remote_code": spec.trust_remote_code,
    }
    if current_platform.is_cpu():
        # no chunked prefill: a split prompt fails with "CPU Generator does not use offset"
        args["enforce_eager"] = True
        args["enable_chunked_prefill"] = False
        args["max_num_batched_tokens"] = max(8192, spec.max_model_tokens)
    return args


def sampling_params(sampling: SamplingSpec, *, seed: int) -> SamplingParams:
    """Return the parameters of a completion that keeps its end token or stop string."""
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
    """Return parameters that request the log-probs of the prompt."""
    return SamplingParams(temperature=1.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
