"""Small trainings in this process, for several test files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlvr.cluster.processes import free_port
from rlvr.run.run_folder import RunFolder
from rlvr.stages.sft.dataset import make_data
from rlvr.stages.sft.ranks import has_gpu, rank_env, training_process
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_plan import make_plan
from rlvr.stages.sft.sft_stage import STAGE
from rlvr.stages.sft.training import load_tokenizer, make_trainer

TEMPLATE = "User: {prompt}\nAssistant:"


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write a JSONL file and return its path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def sums(num_rows: int) -> list[dict[str, Any]]:
    """Traces of small sums."""
    pairs = [(i % 10, i // 10 % 10) for i in range(num_rows)]
    return [
        {"prompt": f"{a}+{b}", "reasoning_content": f"{a}+{b}={a + b}", "content": f"{a + b}"}
        for a, b in pairs
    ]


def config_of(model: Path | str, data: Any, output_dir: Path, **values: Any) -> SftConfig:
    """Return a recipe for a tiny model; `values` override the defaults."""
    given: dict[str, Any] = {
        "name": "sft",
        "output_dir": str(output_dir),
        "model": str(model),
        "data": data,
        "prompt": {"template": TEMPLATE},
        "threads": 1,
        "batch_size": 4,
        "lr": 1e-3,
        "max_tokens": 64,
        "log_steps": 1,
    }
    return SftConfig.model_validate({**given, **values})


def trained(config: SftConfig) -> RunFolder:
    """Train as the command does."""
    folder = RunFolder(config.run_dir)
    with folder.locked():
        plan = STAGE.check(config)
        folder.write_config(config)
        STAGE.run(config, folder, plan)
    return folder


def metrics(folder: RunFolder) -> list[dict[str, Any]]:
    """Read the lines of metrics.jsonl."""
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


@contextmanager
def a_trainer(config: SftConfig) -> Iterator[Any]:
    """TRL's trainer, with model and rows loaded."""
    plan = make_plan(config, is_cpu=not has_gpu())
    with training_process(rank_env(plan, rank=0, port=free_port())):
        tokenizer = load_tokenizer(plan)
        data = make_data(plan, tokenizer, config.run_dir / "tokens")
        yield make_trainer(plan, data, tokenizer, output_dir=config.run_dir / "checkpoints")
