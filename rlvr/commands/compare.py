"""`rlvr compare`: several evaluations in one table, the same prompts side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rlvr.commands import eval as evaluate
from rlvr.config import CompareConfig, load_config
from rlvr.disk import written
from rlvr.evaluation.finished import read_evaluations
from rlvr.manifest import make_manifest
from rlvr.report.comparison import comparison_report
from rlvr.report.document import to_markdown
from rlvr.report.page import to_html
from rlvr.run_folder import RunFolder, write_json

__all__ = ["run"]


def run(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError. The report is made anew each time: it takes no time."""
    config = load_config(CompareConfig, recipe, overrides)
    evaluated = {label: _evaluated(config, label) for label in config.models}
    folders = {**config.folders, **evaluated}
    evaluations = read_evaluations(folders)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        folder.claim(config)
        blocks = comparison_report(evaluations, config)
        markdown = to_markdown(blocks)
        files = {
            folder.path / "report.md": markdown,
            folder.path / "report.html": to_html(blocks, title=config.title),
        }
        for path, text in files.items():
            with written(path):
                path.write_text(text, encoding="utf-8")
        inputs = {f"folders.{k}": f"{path}/summary.json" for k, path in folders.items()}
        write_json(folder.manifest, make_manifest(config, inputs=inputs))
        write_json(folder.summary, {one.label: one.summary["suites"] for one in evaluations})
    print(markdown)
    print("\n".join(f"report  {path}" for path in files))
    return 0


def _evaluated(config: CompareConfig, label: str) -> str:
    """The folder of a model's evaluation, which is made, or gone on with, where it is missing."""
    name = f"{config.name}-{re.sub(r'[^A-Za-z0-9._-]', '-', label)}"
    assert config.evaluation is not None, "the config is checked"
    overrides = [
        f"name={name}",
        f"output_dir={config.output_dir}",
        f"model.path={config.models[label]}",
    ]
    evaluate.run(config.evaluation, overrides)
    return str(Path(config.output_dir) / name)
