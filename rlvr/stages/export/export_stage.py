"""`rlvr export`: write a run's model in the form that others load."""

from __future__ import annotations

from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.export.export_config import ExportConfig
from rlvr.stages.export.export_model import Exported, check_export, run_export

__all__ = ["STAGE"]


def _run(config: ExportConfig, folder: RunFolder, inputs: Exported) -> None:
    run_export(config, folder, inputs)


def _closing(config: ExportConfig, folder: RunFolder) -> str:
    made = folder.model if config.form == "merged" else folder.path / "adapter"
    difference = read_json(folder.summary)["max_logit_diff"]
    return f"{made}: its logits differ from the run's by {difference:.2g}"


STAGE = Stage(
    schema=ExportConfig, check=check_export, run=_run, closing=_closing, needs_environment=False
)
