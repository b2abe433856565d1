"""One vLLM engine in a Ray actor: requests in, finished completions out, new weights in between.

    asyncio thread (Ray calls)                    engine thread (all vLLM calls)
    generate(batch) --whole batch--> inbox  --->  between two decode steps: add all of it
       ^                                          step, step, step, ...
       +------ chunks of finished completions <---+
    load_weights, probe ---- command ------>      run while nothing is generated

vLLM runs inside this process. A batch enters as a whole between two steps, so an idle engine
schedules it the same way every time: with a seed per completion, it gives the same tokens.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.cluster.processes import redirect_output
from rlvr.errors import CheckError
from rlvr.rollout.engine_requests import EngineSpec, Finished, Request, SamplingSpec
from rlvr.rollout.engine_trace import BatchTrace, traced_step
from rlvr.run.trace import span
from rlvr.types import Completion, FinishReason
from rlvr.weight_sync.packed_weights import PackedWeights

__all__ = ["VllmEngine"]

CHUNK_S = 0.05  # shortest time between two chunks: a chunk costs about 2 ms


@dataclass(slots=True)
class _Batch:
    """A running generate call."""

    requests: Sequence[Request]
    sampling: SamplingSpec
    loop: asyncio.AbstractEventLoop
    chunks: asyncio.Queue[list[Finished]]
    trace: BatchTrace
    finished: list[Finished] = field(default_factory=list)


_Command = tuple[Callable[[], Any], Future[Any]]


class VllmEngine:
    """The actor class; its public methods run on the actor's asyncio loop."""

    def __init__(self, spec: EngineSpec) -> None:
        redirect_output(spec.log_path)
        self._spec = spec
        self._policy_version = -1
        self._inbox: queue.SimpleQueue[_Batch | _Command] = queue.SimpleQueue()
        self._open: dict[str, tuple[_Batch, Request]] = {}
        self._ids = itertools.count()
        self._started: Future[None] = Future()
        threading.Thread(target=self._run, name="vllm", daemon=True).start()

    async def ready(self) -> int:
        """Wait until vLLM is ready; return the process id."""
        await asyncio.wrap_future(self._started)
        return os.getpid()

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        """Yield chunks of finished completions; raise CheckError if another version is loaded."""
        if policy_version != self._policy_version:
            raise CheckError(
                f"engine asked to generate with policy version {policy_version}, but it holds "
                f"{self._policy_version}"
            )
        loop, trace = asyncio.get_running_loop(), BatchTrace(len(requests))
        batch = _Batch(requests, sampling, loop, asyncio.Queue(), trace)
        self._inbox.put(batch)
        num_left = len(requests)
        while num_left:
            chunk = await batch.chunks.get()
            num_left -= len(chunk)
            yield chunk

    async def load_weights(self, packed: PackedWeights) -> str:
        """Load a policy version; return the digest of the received bytes, or raise CheckError."""
        return await self._command(lambda: self._load(packed))

    async def probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return log-probs [T-1] of a fixed text under the loaded weights, at temperature 1."""
        return await self._command(lambda: self._probe(token_ids))

    async def _command(self, work: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()
        self._inbox.put((work, done))
        return await asyncio.wrap_future(done)

    # Everything below runs on the engine thread.

    def _run(self) -> None:
        try:
            self._start()
        except BaseException as error:
            self._started.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
            raise
        self._started.set_result(None)
        try:
            while True:
                self._take_inbox(wait=not self._open)
                if self._open:
                    self._step()
        except BaseException:  # nothing joins this thread: print the error and end the actor
            traceback.print_exc()
            os._exit(1)

    def _start(self) -> None:
        from transformers import AutoTokenizer
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        spec = self._spec
        self._llm = LLMEngine.from_engine_args(EngineArgs(**_engine_args(spec)))
        self._policy_version = spec.policy_version
        self._tokenizer = AutoTokenizer.from_pretrained(
            spec.model_path, trust_remote_code=spec.trust_remote_code
        )

    def _take_inbox(self, *, wait: bool) -> None:
        while wait or not self._inbox.empty():
            item = self._inbox.get()
            wait = False
            if isinstance(item, _Batch):
                self._add(item)
                continue
            work, done = item
            try:
                done.set_result(work())
            except Exception as error:  # raised where the result is awaited
                done.set_exception(error)

    def _add(self, batch: _Batch) -> None:
        if not self._open:
            self._llm.reset_prefix_cache()  # an idle engine starts each batch from the same state
        with span("add requests"):
            for request in batch.requests:
                name = str(next(self._ids))
                self._open[name] = (batch, request)
                prompt = {"prompt_token_ids": request.prompt_token_ids.tolist()}
                params = _sampling_params(batch.sampling, seed=request.seed)
                self._llm.add_request(name, prompt, params)

    def _step(self) -> None:
        """Decode until a chunk of finished completions is due, or the inbox is not empty."""
        until = time.monotonic() + CHUNK_S
        touched: dict[int, _Batch] = {}
        while self._open and self._inbox.empty():
            for output in traced_step(self._llm):
                if output.finished:
                    batch, request = self._open.pop(output.request_id)
                    with span("finish"):
                        batch.finished.append(self._finished(request, output))
                    batch.trace.finished(request.task_index)
                    touched[id(batch)] = batch
            if touched and time.monotonic() > until:
                break
        for batch in touched.values():
            chunk, batch.finished = batch.finished, []
            batch.loop.call_soon_threadsafe(batch.chunks.put_nowait, chunk)

    def _finished(self, request: Request, output: Any) -> Finished:
        (generated,) = output.outputs
        token_ids = np.array(generated.token_ids, dtype=np.int32)
        completion = Completion.sampled(
            token_ids,
            # one entry per token: logprobs=0
            np.array(generated.logprobs.logprobs, dtype=np.float32),
            text=generated.text or self._tokenizer.decode(token_ids, skip_special_tokens=True),
            finish_reason=FinishReason(generated.finish_reason),
            policy_version=self._policy_version,
        )
        return Finished(
            task_index=request.task_index, sample_index=request.sample_index, completion=completion
        )

    def _load(self, packed: PackedWeights) -> str:
        assert not self._open, "weights may not change while the engine generates"
        self._policy_version = -1  # generates nothing until the new weights are verified
        with span("load weights"):
            digests = self._llm.collective_rpc("load_packed", args=(packed,))
        self._llm.reset_prefix_cache()
        if any(digest != packed.digest for digest in digests):
            raise CheckError(
                f"weight sync of version {packed.policy_version}: the engine received other bytes "
                f"than the learner sent (digest {digests[0]}, sent {packed.digest})"
            )
        self._policy_version = packed.policy_version
        return digests[0]

    def _probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        from vllm import SamplingParams

        assert not self._open, "the probe runs on an idle engine"
        self._llm.reset_prefix_cache()
        params = SamplingParams(temperature=1.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        with span("probe"):
            self._llm.add_request("probe", {"prompt_token_ids": token_ids.tolist()}, params)
            while self._llm.has_unfinished_requests():
                outputs = self._llm.step()
        (output,) = outputs
        positions = zip(output.prompt_logprobs[1:], token_ids[1:], strict=True)
        return np.array([at[int(token)].logprob for at, token in positions], dtype=np.float32)


def _engine_args(spec: EngineSpec) -> dict[str, Any]:
    """Return the arguments of `vllm.EngineArgs`, the same in vLLM 0.26 to 0.33."""
    from vllm.platforms import current_platform

    args: dict[str, Any] = {
        "model": spec.model_path,
        "dtype": spec.dtype,
        "seed": spec.seed,
        "max_model_len": spec.max_model_tokens,
        "max_num_seqs": spec.max_concurrent,
        "tensor_parallel_size": spec.tensor_parallel,
        "kv_cache_memory_bytes": spec.kv_cache_bytes,
        "gpu_memory_utilization": 0.05,  # must be free at the start; the cache size is explicit
        # after temperature; truncated sampling would leave a renormalized rest of the distribution
        "logprobs_mode": "raw_logprobs" if spec.has_raw_logprobs else "processed_logprobs",
        "generation_config": "vllm",  # ignore the model's own sampling defaults
        "enable_prefix_caching": True,  # the prompt of a group is computed once
        "skip_tokenizer_init": not spec.has_stop_strings,
        "worker_extension_cls": "rlvr.weight_sync.packed_weights.WeightSyncWorker",
        "disable_log_stats": True,
        "trust_remote_code": spec.trust_remote_code,
    }
    if current_platform.is_cpu():
        # no chunked prefill: a split prompt fails with "CPU Generator does not use offset"
        args["enforce_eager"] = True
        args["enable_chunked_prefill"] = False
        args["max_num_batched_tokens"] = max(8192, spec.max_model_tokens)
    return args


def _sampling_params(sampling: SamplingSpec, *, seed: int) -> Any:
    """Return the parameters of a completion that keeps its end token or stop string."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k or 0,  # 0: all tokens
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
