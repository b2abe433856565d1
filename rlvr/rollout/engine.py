"""One vLLM engine in a Ray actor: jobs in, finished completions out, new weights in between.

    asyncio thread (Ray calls)                    engine thread (all vLLM calls)
    submit, load_weights, probe --command--> inbox  --->  run between two decode steps
    poll(client) <---- chunks of completions <---------   step, step, step, ...

vLLM runs inside this process. Jobs submitted together enter together between two steps, so an idle
engine schedules them the same way every time: with a seed per completion, it gives the same tokens.

Weights may change while completions are under way: they go on from the tokens that they have, with
the KV cache of the old weights, and each token carries the version that generated it. Prompts are
cached per version, so that a job never starts from the cache of older weights.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.cluster.processes import redirect_output
from rlvr.errors import CheckError
from rlvr.rollout.engine_requests import (
    EngineJob,
    EngineProgress,
    EngineSpec,
    Finished,
    Request,
    SamplingSpec,
)
from rlvr.rollout.engine_trace import BatchTrace, traced_step
from rlvr.run.trace import span
from rlvr.types import Completion, FinishReason
from rlvr.weight_sync.packed_weights import PackedWeights

__all__ = ["VllmEngine"]

CHUNK_S = 0.05  # shortest time between two chunks: a chunk costs about 2 ms
PROBE = "probe"  # id of its request; those of completions are numbers


@dataclass(slots=True, kw_only=True)
class _Open:
    """A completion under way."""

    job: EngineJob
    request: Request
    trace: BatchTrace
    versions: list[tuple[int, int]]  # (first token, policy version), in the order of tokens


@dataclass(slots=True)
class _Mailbox:
    """Finished completions that a client has not polled yet."""

    finished: list[tuple[str, Finished]] = field(default_factory=list)
    has_news: asyncio.Event = field(default_factory=asyncio.Event)


_Command = tuple[Callable[[], Any], Future[Any]]


class VllmEngine:
    """The actor class; its public methods run on the actor's asyncio loop."""

    def __init__(self, spec: EngineSpec) -> None:
        redirect_output(spec.log_path)
        self._spec = spec
        self._policy_version = -1
        self._inbox: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._boxes: defaultdict[str, _Mailbox] = defaultdict(_Mailbox)
        self._open: dict[str, _Open] = {}
        self._done: defaultdict[str, list[tuple[str, Finished]]] = defaultdict(list)
        self._probed: Any = None
        self._num_steps = 0
        self._ids = itertools.count()
        self._started: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        threading.Thread(target=self._run, name="vllm", daemon=True).start()

    async def ready(self) -> int:
        """Wait until vLLM is ready; return the process id."""
        await asyncio.wrap_future(self._started)
        return os.getpid()

    async def submit(self, jobs: Sequence[EngineJob]) -> None:
        """Start jobs; raise CheckError if the engine holds older weights than they ask for."""
        self._loop = asyncio.get_running_loop()
        await self._command(lambda: self._add(jobs))

    async def poll(self, client: str, wait_s: float) -> EngineProgress:
        """Return the client's finished completions; wait up to `wait_s` for the first one."""
        box = self._boxes[client]
        with suppress(TimeoutError):
            await asyncio.wait_for(box.has_news.wait(), wait_s)
        box.has_news.clear()
        finished, box.finished = box.finished, []
        return EngineProgress(finished=finished, num_steps=self._num_steps)

    async def abort(self, client: str, job_ids: Collection[str]) -> None:
        """End jobs; nothing more is heard of them."""
        await self._command(lambda: self._abort(client, job_ids))

    async def load_weights(self, packed: PackedWeights, *, is_restart: bool = False) -> str:
        """Load a policy version between two decode steps; return the digest of the received bytes.

        Completions under way go on with the new weights, or with `is_restart` begin again.

        Raises:
            CheckError: the received bytes are not those that were sent.
        """
        return await self._command(lambda: self._load(packed, is_restart=is_restart))

    async def probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return log-probs [T-1] of a fixed text under the loaded weights, at temperature 1."""
        return await self._command(lambda: self._probe(token_ids))

    async def _command(self, work: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()
        self._inbox.put((work, done))
        return await asyncio.wrap_future(done)

    def _deliver(self, client: str, finished: Sequence[tuple[str, Finished]]) -> None:
        box = self._boxes[client]
        box.finished.extend(finished)
        box.has_news.set()

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
                    self._generate()
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
            work, done = self._inbox.get()
            wait = False
            try:
                done.set_result(work())
            except Exception as error:  # raised where the result is awaited
                done.set_exception(error)
            self._send()  # of completions that ended meanwhile

    def _add(self, jobs: Sequence[EngineJob]) -> None:
        for job in jobs:
            if self._policy_version < job.policy_version:
                raise CheckError(
                    f"engine asked to generate with policy version {job.policy_version}, but it "
                    f"holds {self._policy_version}"
                )
        if not self._open:
            self._llm.reset_prefix_cache()  # an idle engine starts each batch from the same state
        with span("add requests"):
            for job in jobs:
                trace = BatchTrace(len(job.requests))
                for request in job.requests:
                    self._begin(_Open(job=job, request=request, trace=trace, versions=[]))

    def _begin(self, one: _Open) -> None:
        name, version = str(next(self._ids)), self._policy_version
        one.versions = [(0, version)]
        self._open[name] = one
        prompt = {
            "prompt_token_ids": one.request.prompt_token_ids.tolist(),
            "cache_salt": str(version),
        }
        self._llm.add_request(
            name, prompt, _sampling_params(one.job.sampling, seed=one.request.seed)
        )

    def _generate(self) -> None:
        """Decode until a chunk of finished completions is due, or the inbox is not empty."""
        until = time.monotonic() + CHUNK_S
        while self._open and self._inbox.empty():
            self._step()
            if self._done and time.monotonic() > until:
                break
        self._send()

    def _step(self) -> None:
        """Take a step; keep what it finishes for the next chunk."""
        for output in traced_step(self._llm):
            if not output.finished:
                continue
            if output.request_id == PROBE:
                self._probed = output
                continue
            one = self._open.pop(output.request_id)
            with span("finish"):
                self._done[one.job.client].append((one.job.id, self._finished(one, output)))
            one.trace.finished(one.request.task_index)
        self._num_steps += 1

    def _send(self) -> None:
        for client, finished in self._done.items():
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._deliver, client, finished)
        self._done.clear()

    def _finished(self, one: _Open, output: Any) -> Finished:
        (generated,) = output.outputs
        token_ids = np.array(generated.token_ids, dtype=np.int32)
        whole = Completion.sampled(
            token_ids,
            # one entry per token: logprobs=0
            np.array(generated.logprobs.logprobs, dtype=np.float32),
            text=generated.text or self._tokenizer.decode(token_ids, skip_special_tokens=True),
            finish_reason=FinishReason(generated.finish_reason),
            policy_version=one.versions[0][1],
        )
        for first, version in one.versions[1:]:
            whole.policy_versions[first:] = version
        return Finished(
            task_index=one.request.task_index,
            sample_index=one.request.sample_index,
            completion=whole,
        )

    def _abort(self, client: str, job_ids: Collection[str]) -> None:
        names = [
            name
            for name, one in self._open.items()
            if one.job.client == client and one.job.id in job_ids
        ]
        self._llm.abort_request(names)
        for name in names:
            del self._open[name]

    def _load(self, packed: PackedWeights, *, is_restart: bool) -> str:
        self._finish_scheduled_steps()
        self._policy_version = -1  # nothing is generated until the new weights are verified
        with span("load weights"):
            digests = self._llm.collective_rpc("load_packed", args=(packed,))
        if any(digest != packed.digest for digest in digests):
            raise CheckError(
                f"weight sync of version {packed.policy_version}: the engine received other bytes "
                f"than the learner sent (digest {digests[0]}, sent {packed.digest})"
            )
        self._policy_version = packed.policy_version
        if is_restart:
            self._begin_again()
        else:
            self._go_on()
        if not self._open:
            self._llm.reset_prefix_cache()
        return digests[0]

    def _finish_scheduled_steps(self) -> None:
        """Finish the steps that vLLM schedules ahead: each token has one version."""
        core = self._llm.engine_core.engine_core
        ahead = getattr(core, "batch_queue", None) or ()  # of (future, scheduled, ...)
        if not ahead:
            return
        core.pause_scheduler(mode="keep", clear_cache=False)  # steps then schedule no token
        while any(item[1].total_num_scheduled_tokens for item in ahead):
            self._step()
        core.resume_scheduler()

    def _go_on(self) -> None:
        """Note where the tokens of the new version begin in each completion under way."""
        if not self._open:
            return
        states = self._llm.output_processor.request_states.values()
        num_tokens = {s.external_req_id: s.detokenizer.num_output_tokens() for s in states}
        for name, one in self._open.items():
            one.versions.append((num_tokens[name], self._policy_version))

    def _begin_again(self) -> None:
        unfinished, self._open = self._open, {}
        self._llm.abort_request(list(unfinished))
        for one in unfinished.values():
            self._begin(one)

    def _probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        from vllm import SamplingParams

        params = SamplingParams(temperature=1.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        with span("probe"):
            prompt = {"prompt_token_ids": token_ids.tolist()}
            self._llm.add_request(PROBE, prompt, params, priority=-1)  # before any that waits
            while self._probed is None:
                self._step()
        output, self._probed = self._probed, None
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
        "max_num_seqs": spec.max_concurrent + 1,  # and the probe
        "scheduling_policy": "priority",  # the probe does not wait for completions
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
