"""`rlvr grpo`: train by GRPO."""

from __future__ import annotations

from rlvr.data.inputs import Inputs
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.grpo_inputs import check_inputs
from rlvr.grpo.run_summary import closing_text
from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage

__all__ = ["STAGE"]


def _run(config: GrpoConfig, folder: RunFolder, inputs: Inputs) -> None:
    from rlvr.grpo.launch import run_grpo

    run_grpo(config, folder, inputs)


def _closing(config: GrpoConfig, folder: RunFolder) -> str:
    return closing_text(folder, read_json(folder.summary))


STAGE = Stage(schema=GrpoConfig, check=check_inputs, run=_run, closing=_closing)
