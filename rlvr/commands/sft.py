"""`rlvr sft`: train on text, or a reward model on preferences."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.config import SftConfig, load_config
from rlvr.environment import check_environment
from rlvr.run_folder import RunFolder, RunStatus
from rlvr.stages.sft import check_data, run_sft

__all__ = ["run"]


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError."""
    config = load_config(SftConfig, recipe, overrides)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        check_data(config)
        check_environment()
        if folder.claim(config) is RunStatus.FINISHED:
            made = folder.path / "adapter" if config.lora else folder.model
            print(f"{made} is there; to make it anew, delete {folder.path}")
            return 0
        run_sft(config, folder)
    return 0
