"""`rlvr sft`: supervised training, or a reward model from preferences."""

from __future__ import annotations

from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.sft import check_data, run_sft
from rlvr.stages.sft.sft_config import SftConfig

__all__ = ["STAGE"]


def _run(config: SftConfig, folder: RunFolder, inputs: None) -> None:
    run_sft(config, folder)


def _closing(config: SftConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    made = folder.path / "adapter" if config.lora else folder.model
    return f"{made}: {summary['num_rows']} rows, mean loss {summary['train_loss']:.3f}"


STAGE = Stage(schema=SftConfig, check=check_data, run=_run, closing=_closing)
