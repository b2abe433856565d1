"""Supervised training with TRL's SFTTrainer on DeepSpeed; with a scalar head, a reward model.

    recipe
      | sources    which rows of which files           examples   any form of row -> prompt, answer
      | rendering  the text, as at inference           tokens     ids and labels, the end once
      | dataset    an Arrow file and its counts
      v
    training   trainer (losses, sampler), arguments, models, progress, memory
      v
    runs/NAME/  model/ or adapter/  checkpoints/  metrics.jsonl  manifest.json  summary.json

With several ranks each is a process of its own (`launching` starts them, `rank` is what they run).
"""

from __future__ import annotations

from rlvr.data.prompts import make_template
from rlvr.run.run_folder import RunFolder
from rlvr.stages.sft.launching import run_ranks
from rlvr.stages.sft.models import check_start
from rlvr.stages.sft.rank import train_rank
from rlvr.stages.sft.rank_process import free_port, rank_env
from rlvr.stages.sft.row_sources import check_sources
from rlvr.stages.sft.sft_config import SftConfig

__all__ = ["check_data", "run_sft"]


def check_data(config: SftConfig) -> None:
    """Raises ConfigError with one line on what is wrong with model, data or template."""
    check_start(config)
    section = config.prompt
    make_template(section.template, system=section.system, prefill=section.prefill)
    check_sources(config)


def run_sft(config: SftConfig, folder: RunFolder) -> None:
    """Train and leave a model. Raises RLVRError, and Stopped with the step of its checkpoint."""
    if config.num_ranks > 1:
        run_ranks(config, folder)
    else:
        train_rank(config, folder, rank=0, env=rank_env(config, rank=0, port=free_port()))
