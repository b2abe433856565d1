"""`rlvr export`: a run's model as others take it."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.config.export import ExportConfig
from rlvr.config.loading import load_config
from rlvr.run_folder import RunFolder, RunStatus
from rlvr.stages.export import check_export, run_export

__all__ = ["run"]


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError."""
    config = load_config(ExportConfig, recipe, overrides)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        check_export(config)
        if folder.claim(config) is RunStatus.FINISHED:
            print(f"{folder.path} is there; to make it anew, delete it")
            return 0
        run_export(config, folder)
    return 0
