"""What one process of a training does; also the program of those that `launching` starts.

python -m rlvr.stages.sft.rank RUN_FOLDER RANK
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rlvr.config import load_config
from rlvr.errors import RLVRError, Stopped
from rlvr.run.run_folder import RunFolder
from rlvr.stages.sft.rank_process import training_process
from rlvr.stages.sft.sft_config import SftConfig

__all__ = ["STOPPED", "train_rank"]

STOPPED = 3  # exit status after a checkpoint that was asked for


def train_rank(config: SftConfig, folder: RunFolder, *, rank: int, env: Mapping[str, str]) -> None:
    """Raises RLVRError, and Stopped with the step of its checkpoint."""
    with training_process(env):
        if config.head == "scalar":
            from rlvr.stages.sft.reward_model import train_reward_model

            train_reward_model(config, folder, rank=rank)
        else:
            from rlvr.stages.sft.training import train_language_model

            train_language_model(config, folder, rank=rank)


def _main(path: str, rank: str) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    folder = RunFolder(Path(path))
    try:
        config = load_config(SftConfig, folder.config)
        train_rank(config, folder, rank=int(rank), env=dict(os.environ))
    except Stopped:
        return STOPPED
    except RLVRError as error:
        print(f"rlvr: {error}", file=sys.stderr, flush=True)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
