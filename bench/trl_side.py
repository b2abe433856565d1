"""Train with TRL and write a line per step to a file: `python -m bench.trl_side '{...}' FILE`.

A step lasts from the end of one optimizer step to the end of the next: generation, rewards,
learning and bookkeeping.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from bench.trl_trainer import TrlSettings, make_trainer
from bench.workload import RewardFunction, Workload
from rewards import shutdown

__all__ = ["main"]


class StepClock(TrainerCallback):
    """Writes one JSON line per step."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._last_end = self._generated = 0.0
        self._num_tokens = 0

    def clocked(self, function: RewardFunction) -> RewardFunction:
        """Return the reward with a clock: its first call in a step is the end of generation."""

        def reward(completions: Any, completion_ids: Any, **columns: Any) -> list[float | None]:
            self._generated = time.monotonic()
            self._num_tokens = sum(len(token_ids) for token_ids in completion_ids)
            return function(completions=completions, **columns)

        reward.__name__ = function.__name__
        return reward

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._last_end = time.monotonic()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        end = time.monotonic()
        line = {
            "step_s": end - self._last_end,
            "generate_s": self._generated - self._last_end,
            "learn_s": end - self._generated,
            "num_tokens": self._num_tokens,
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._last_end = end


def main(arguments: Sequence[str]) -> None:
    """Train as described by the JSON in the first argument."""
    order, out = json.loads(arguments[0]), Path(arguments[1])
    workload = Workload(order["name"], Path(order["recipe"]), tuple(order["overrides"]))
    settings = TrlSettings(**order["settings"])
    torch.set_num_threads(settings.num_threads)
    clock = StepClock(out)
    first, *others = workload.reward_functions()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            workload,
            settings,
            num_steps=order["num_steps"],
            output_dir=Path(folder),
            reward_functions=[clock.clocked(first), *others],
            callbacks=[clock],
        )
        trainer.train()
    shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
