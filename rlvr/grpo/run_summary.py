"""Summary of a finished run: a table of before and after, and example completions of both."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.grpo.held_out_eval import reported_ks
from rlvr.run.checkpoints import complete_checkpoints
from rlvr.run.continuation import noted_changes
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import RunFolder

__all__ = ["Z_95", "closing_text", "make_summary"]

Z_95 = 1.96  # standard errors in a 95% confidence interval
NUM_NEWEST = 3  # checkpoints that are named


def make_summary(folder: RunFolder, *, num_steps: int) -> dict[str, Any]:
    """Return {"before", "after", "best", "num_steps", "wall_s"}.

    before, after: first and last evaluation since the held-out tasks or their sampling were last
    changed; best: step and pass@1 of the best one, the later of
    two equal ones; None without an evaluation.
    """
    lines = MetricsFile(folder.metrics).lines()
    wall_s = sum(line.get("time/step_s", 0.0) for line in lines)
    since = _evaluated_alike_since(folder)
    scored = [
        line for line in lines if "eval/pass_at_1" in line and (line["step"] > since or not since)
    ]
    evaluations = [
        {key.removeprefix("eval/"): value for key, value in line.items() if key.startswith("eval/")}
        for line in scored
    ]
    before, after = (evaluations[0], evaluations[-1]) if evaluations else (None, None)
    best = max(((line["eval/pass_at_1"], line["step"]) for line in scored), default=None)
    return {
        "before": before,
        "after": after,
        "best": best and {"step": best[1], "pass_at_1": best[0]},
        "num_steps": num_steps,
        "wall_s": round(wall_s, 1),
    }


def _evaluated_alike_since(folder: RunFolder) -> int:
    """Return the step at which a continued run last changed its evaluation; 0: never."""
    steps = (
        one["step"]
        for one in noted_changes(folder)
        if one["key"].startswith("eval.") and one["key"] != "eval.every_steps"
    )
    return max(steps, default=0)


def closing_text(folder: RunFolder, summary: Mapping[str, Any], *, has_model: bool = True) -> str:
    """Return the text that is printed at the end of a run; without a learner it has no model."""
    models = _models(folder) if has_model else []
    paths = "\n".join([*models, *_paths(folder)])
    parts = [_table(summary), _best(folder, summary), _examples(folder), paths]
    return "\n\n".join(part for part in parts if part)


def _table(summary: Mapping[str, Any]) -> str:
    before, after = summary["before"], summary["after"]
    if before is None or after is None:
        return f"{summary['num_steps']} steps in {summary['wall_s']:.0f} s, without an evaluation"
    k = after["num_samples"]
    cells = {"pass@1": [_interval(e, "pass_at_1", "pass_at_1_stderr") for e in (before, after)]}
    if k > 1:
        for i in reported_ks(k):
            cells[f"pass@{i}"] = [f"{e[f'pass_at_{i}']:.3f}" for e in (before, after)]
        cells[f"majority of {k}"] = [f"{e['majority_at_k']:.3f}" for e in (before, after)]
    if after["format_frac"] is not None:
        cells["well-formed"] = [
            _interval(e, "format_frac", "format_stderr") for e in (before, after)
        ]
    cells["truncated"] = [f"{e['truncated_frac']:.3f}" for e in (before, after)]
    cells["mean length"] = [f"{e['length_mean']:.1f} tokens" for e in (before, after)]
    rows = [["", "before", f"after {summary['num_steps']} steps"]]
    rows += [[name, *values] for name, values in cells.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.append(
        f"{after['num_tasks']} held-out problems, {k} completions each; +- is a 95% confidence "
        f"interval; {summary['wall_s']:.0f} s of training"
    )
    return "\n".join(lines)


def _best(folder: RunFolder, summary: Mapping[str, Any]) -> str:
    """Name the best step of several evaluations, if it is not the last one."""
    best = summary.get("best")
    if not best or best["step"] in (0, summary["num_steps"]):
        return ""
    path = f"{folder.path}@{best['step']}"
    is_there = best["step"] in complete_checkpoints(folder.checkpoints)
    where = path if is_there else "not on disk; checkpoint.keep.best=1 keeps it"
    return f"best held-out pass@1 {best['pass_at_1']:.3f} after step {best['step']}: {where}"


def _interval(evaluation: Mapping[str, Any], name: str, stderr: str) -> str:
    return f"{evaluation[name]:.3f} +- {Z_95 * evaluation[stderr]:.3f}"


def _examples(folder: RunFolder) -> str:
    """Show completions of the first two held-out problems, before and after."""
    files = sorted(folder.rollouts.glob("eval_*.parquet"))
    if not files:
        return ""
    first, last = _first_completions(files[0]), _first_completions(files[-1])
    lines = []
    for task_id in [name for name in first if name in last][:2]:
        prompt, completion = first[task_id]
        lines.append(f"{task_id}: {_one_line(prompt)}")
        lines.append(f"  before: {_one_line(completion)}")
        lines.append(f"  after:  {_one_line(last[task_id][1])}")
    return "\n".join(lines)


def _first_completions(path: Path) -> dict[str, tuple[str, str]]:
    """Return {task id: (prompt, first completion)}."""
    import pyarrow.parquet as pq

    columns = ["task_id", "sample_index", "prompt", "completion"]
    rows = pq.read_table(path, columns=columns).to_pylist()
    return {r["task_id"]: (r["prompt"], r["completion"]) for r in rows if r["sample_index"] == 0}


def _one_line(text: str, limit: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit] + " ..."


def _models(folder: RunFolder) -> list[str]:
    lines = [
        f"model       {folder.model}  (transformers' from_pretrained and `vllm serve` load it)"
    ]
    if steps := list(complete_checkpoints(folder.checkpoints)):
        names = ", ".join(f"{folder.path}@{step}" for step in steps[-NUM_NEWEST:])
        lines.append(f"checkpoints {names}  (models too, for rlvr eval, chat, serve, export)")
    return lines


def _paths(folder: RunFolder) -> list[str]:
    return [
        f"rollouts    {folder.rollouts}/step_*.parquet  (completions, rewards, reasons)",
        f"metrics     {folder.metrics}",
        f"logs        {folder.logs}",
        f"next        {sys.argv[0]} grpo {folder.config} name=second learner.lr=...",
    ]
