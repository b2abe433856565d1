"""Real actors for tests: configs of a tiny run, learner ranks alone, a loop on started actors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

from rlvr.cluster.actors import Actor
from rlvr.cluster.processes import actor_env
from rlvr.config.training_sections import RetentionSection
from rlvr.data.prompts import make_template
from rlvr.data.tasks import TaskStream, open_tasks
from rlvr.grpo.actor_group import ActorGroup
from rlvr.grpo.advantages import assign_advantages
from rlvr.grpo.batching import make_batch
from rlvr.grpo.graders import GraderPool, RewardWorker
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.launch import TemplateEncoder
from rlvr.grpo.loop import GrpoLoop, Learner
from rlvr.grpo.rollouts import Engines, RolloutCollector
from rlvr.grpo.run_logger import RunLogger
from rlvr.learner.deepspeed_engine import LearnerSpec
from rlvr.learner.deepspeed_learner import DeepSpeedLearner
from rlvr.learner.learner_group import LearnerGroup
from rlvr.rollout.engine_pool import EnginePool
from rlvr.rollout.engine_requests import Request, SamplingSpec, completion_seed
from rlvr.run.checkpoints import Checkpoints
from rlvr.run.console import RunConsole
from rlvr.run.run_folder import RunFolder
from rlvr.run.trackers import Trackers
from rlvr.types import Batch, Completion, FinishReason, Group, RewardResult, Rollout, Task
from rlvr.weight_sync.sync import WeightSync

DEADLINE_S = 120.0
TEMPERATURE = 0.7
TEMPLATE = "User: {prompt}\nAssistant:"


def tiny_recipe(model: Path, output_dir: Path, **sections: Any) -> dict[str, Any]:
    """A run of seconds; `sections` are merged into the recipe's own."""
    recipe: dict[str, Any] = {
        "stage": "grpo",
        "name": "tiny",
        "output_dir": str(output_dir),
        "num_steps": 6,
        "model": {"path": str(model)},
        "tasks": {"source": "toy"},
        "prompt": {"template": TEMPLATE},
        "rewards": {"odd_rewards:letters": 1.0, "accuracy": 1.0, "think_format": 1.0},
        "rollout": {
            "tasks_per_step": 4,
            "group_size": 4,
            "temperature": TEMPERATURE,
            "max_tokens": 24,
            "max_prompt_tokens": 64,
            "max_concurrent": 64,
            "kv_cache_gib": 0.05,
        },
        "learner": {"lr": 1e-3, "token_budget": 512},
        "eval": {
            "tasks": {"source": "toy", "split": "heldout", "num_tasks": 4},
            "samples_per_task": 2,
            "correct_by": "accuracy",
        },
        "checkpoint": {"every_steps": 2},
        "checks": {"preflight_tasks": 16},
        "resources": {"phase_deadline_s": DEADLINE_S, "engine_threads": 1, "learner_threads": 1},
    }
    for name, section in sections.items():
        is_merged = isinstance(recipe.get(name), dict) and name != "rewards"
        recipe[name] = {**recipe[name], **section} if is_merged else section
    return recipe


def tiny_config(model: Path, output_dir: Path, **sections: Any) -> GrpoConfig:
    """The same, checked."""
    return GrpoConfig.model_validate(tiny_recipe(model, output_dir, **sections))


def make_encoder(config: GrpoConfig) -> TemplateEncoder:
    """The template of a config with its model's tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(config.model.path)
    template = make_template(config.prompt.template, system=None, prefill="", key="prompt.template")
    return TemplateEncoder(template, tokenizer, config.rollout.max_prompt_tokens)


def make_requests(config: GrpoConfig, *, num_tasks: int = 4, group_size: int = 4) -> list[Request]:
    """Requests for the first toy problems, each completion with its seed."""
    encoder, tasks = make_encoder(config), open_tasks("toy")
    prompts = [encoder.encode(tasks.task(i)) for i in range(num_tasks)]
    return [
        Request(
            task_index=i,
            sample_index=k,
            prompt_token_ids=prompt,
            seed=completion_seed(0, "train", 0, i, k),
        )
        for i, prompt in enumerate(prompts)
        for k in range(group_size)
    ]


def write(
    pool: EnginePool, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
) -> dict[tuple[int, int], Completion]:
    """All completions by (task, sample); fails where one comes twice."""

    async def collect() -> dict[tuple[int, int], Completion]:
        found: dict[tuple[int, int], Completion] = {}
        async for chunk in pool.generate(requests, sampling, policy_version=policy_version):
            for item in chunk:
                key = (item.task_index, item.sample_index)
                assert key not in found, f"{key} came twice"
                found[key] = item.completion
        return found

    return asyncio.run(collect())


def new_grader(rewards: Mapping[str, float], logs: Path) -> Actor:
    """A reward actor of its own."""
    specs = {name: {"weight": weight} for name, weight in rewards.items()}
    log_path = str(logs / "rewards_own.log")
    options = {"num_cpus": 0, "runtime_env": {"env_vars": actor_env(num_threads=1, is_cpu=True)}}
    handle = ray.remote(RewardWorker).options(**options).remote(specs, log_path)
    return Actor(name="rewards_own", handle=handle, log_path=log_path)


def start_learners(config: GrpoConfig, logs: Path) -> list[Actor]:
    """All started ranks of a learner."""
    num_ranks = config.learner.num_ranks
    env = actor_env(num_threads=1, is_cpu=True)
    options = {"num_cpus": 0, "runtime_env": {"env_vars": env}}
    ranks = []
    for rank in range(num_ranks):
        spec = LearnerSpec(
            rank=rank,
            num_ranks=num_ranks,
            num_steps=config.total_steps,
            model_path=config.model.path,
            dtype=config.model.dtype,
            trust_remote_code=False,
            seed=0,
            temperature=config.rollout.temperature,
            mismatch_limit=config.checks.mismatch_limits(config.model.dtype)[0],
            learner=config.learner,
            loss=config.loss,
            backend="gloo",
            log_path=str(logs / f"learner_{num_ranks}_{config.learner.zero_stage}_{rank}.log"),
        )
        handle = ray.remote(DeepSpeedLearner).options(**options).remote(spec)
        ranks.append(Actor(name=f"learner_{rank}", handle=handle, log_path=spec.log_path))

    async def start() -> None:
        address, port = await ranks[0].call("rendezvous", deadline_s=DEADLINE_S)
        calls = [rank.call("start", address, port, deadline_s=DEADLINE_S) for rank in ranks]
        await asyncio.gather(*calls)

    asyncio.run(start())
    return ranks


def stored_groups(*, seed: int = 0, num_groups: int = 4, group_size: int = 4) -> list[Group]:
    """Rollouts of random tokens, lengths from 2 to 30, as if a uniform policy had written them."""
    rng = np.random.default_rng(seed)
    groups = []
    for i in range(num_groups):
        rollouts = [_stored_rollout(rng) for _ in range(group_size)]
        prompt = rng.integers(2, 500, size=int(rng.integers(5, 20))).astype(np.int32)
        task = Task(id=f"stored/{i}", prompt="")
        groups.append(Group(task=task, prompt_token_ids=prompt, rollouts=tuple(rollouts)))
    return groups


def _stored_rollout(rng: np.random.Generator) -> Rollout:
    num_tokens = int(rng.integers(2, 30))
    completion = Completion.sampled(
        rng.integers(2, 500, size=num_tokens).astype(np.int32),
        np.full(num_tokens, -np.log(512), dtype=np.float32),
        text="",
        finish_reason=FinishReason.STOP,
        policy_version=0,
    )
    value = float(rng.random())
    reward = RewardResult(value=value, grades={})
    return Rollout(completion=completion, reward=reward)


def packed(groups: Sequence[Group], config: GrpoConfig) -> Batch:
    """The groups as the loop would hand them to the learner."""
    return make_batch(
        assign_advantages(groups, scale="std"),
        loss=config.loss.name,
        max_tokens=config.rollout.max_tokens,
        token_budget=config.learner.token_budget,
        num_ranks=config.learner.num_ranks,
        skip_no_signal=config.loss.beta == 0,
    )


def make_sync(
    actors: ActorGroup, config: GrpoConfig, *, learner: Any = None, max_probe_error: float = 1e-3
) -> WeightSync:
    """The sync of an actor group; `learner` may replace its own."""
    encoder, tasks = make_encoder(config), open_tasks("toy")
    prompts = [encoder.encode(tasks.task(i)) for i in range(4)]
    return WeightSync(
        engines=EnginePool(actors.engines, deadline_s=DEADLINE_S),
        learner=learner or LearnerGroup(actors.learners, deadline_s=DEADLINE_S),
        probe_token_ids=np.concatenate(prompts)[:64],
        max_probe_error=max_probe_error,
    )


def run_loop(
    actors: ActorGroup,
    config: GrpoConfig,
    *,
    learner: Learner | None = None,
    engines: Engines | None = None,
    graders: Sequence[Actor] = (),
    start_grader: Callable[[int], Awaitable[Actor]] | None = None,
) -> GrpoLoop:
    """Run the real loop on a started actor group."""
    folder = RunFolder(config.run_dir)
    folder.path.mkdir(parents=True)
    encoder = make_encoder(config)
    own = LearnerGroup(actors.learners, deadline_s=DEADLINE_S)
    log = RunLogger(
        folder,
        console=RunConsole(title=config.name, num_steps=config.total_steps),
        trackers=Trackers(config.trackers, folder=folder.path, name=config.name),
        prompt_text=encoder.text,
    )

    async def run() -> GrpoLoop:
        loop = GrpoLoop(
            config=config,
            collector=RolloutCollector(
                engines=engines or EnginePool(actors.engines, deadline_s=DEADLINE_S),
                graders=GraderPool(
                    graders or actors.graders,
                    start=start_grader or actors.start_grader,
                    wants=("completion_ids", "prompts"),
                    deadline_s=DEADLINE_S,
                ),
                encoder=encoder,
                seed=config.seed,
            ),
            learner=learner or own,
            sync_weights=make_sync(actors, config),
            tasks=TaskStream(open_tasks("toy"), seed=config.seed),
            eval_tasks=(),
            stop_token_ids=(encoder.tokenizer.eos_token_id,),
            checkpoints=Checkpoints(folder.checkpoints, keep=RetentionSection(last=1)),
            log=log,
            stop=asyncio.Event(),
        )
        await loop.run()
        return loop

    try:
        return asyncio.run(run())
    finally:
        log.close()
