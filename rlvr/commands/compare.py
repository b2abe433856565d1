"""`rlvr compare`: several evaluations in one table, the same prompts side by side."""

from __future__ import annotations

from collections.abc import Sequence

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
    """Exit status; raises RLVRError. Made anew each time: it takes no time."""
    config = load_config(CompareConfig, recipe, overrides)
    evaluations = read_evaluations(config.folders)
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
        inputs = {f"folders.{k}": f"{path}/summary.json" for k, path in config.folders.items()}
        write_json(folder.manifest, make_manifest(config, inputs=inputs))
        write_json(folder.summary, {one.label: one.summary["suites"] for one in evaluations})
    print(markdown)
    print("\n".join(f"report  {path}" for path in files))
    return 0
