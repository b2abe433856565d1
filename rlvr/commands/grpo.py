"""`rlvr grpo`: train by GRPO."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.config import GrpoConfig, load_config
from rlvr.environment import check_environment
from rlvr.inputs import check_inputs
from rlvr.run_folder import RunFolder, RunStatus, read_json
from rlvr.summary import closing_text

__all__ = ["run"]


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError."""
    config = load_config(GrpoConfig, recipe, overrides)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        inputs = check_inputs(config)
        if folder.claim(config) is RunStatus.FINISHED:
            print(closing_text(folder, read_json(folder.summary), recipe=recipe))
            print(
                f"\nThis run is finished. To start anew: another name=..., or delete {folder.path}"
            )
            return 0
        check_environment()
        from rlvr.launch import run_grpo

        summary = run_grpo(config, folder, inputs)
        print(closing_text(folder, summary, recipe=recipe))
    return 0
