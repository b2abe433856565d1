"""`rlvr clean`: filter and tag rows of reasoning data."""

from __future__ import annotations

from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.clean.clean_config import CleanConfig
from rlvr.stages.clean.clean_rows import Inputs, check_clean, run_clean

__all__ = ["STAGE"]


def _run(config: CleanConfig, folder: RunFolder, inputs: Inputs) -> None:
    run_clean(config, folder, inputs)


def _closing(config: CleanConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    lines = [f"{summary['num_kept']} of {summary['num_rows']} rows kept"]
    lines += [
        f"  {count:6} dropped by {name}" for name, count in summary["dropped"].items() if count
    ]
    if domains := summary.get("domains_kept"):
        shares = ", ".join(f"{name} {count}" for name, count in domains["rows"].items())
        lines.append(f"  domains: {shares}; smallest to largest {domains['smallest_to_largest']}")
    lines.append(f"kept in {folder.path / 'kept.jsonl'}, all in {folder.path / 'rows.jsonl'}")
    return "\n".join(lines)


STAGE = Stage(
    schema=CleanConfig, check=check_clean, run=_run, closing=_closing, needs_environment=False
)
