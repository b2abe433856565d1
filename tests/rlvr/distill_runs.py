"""A distillation for tests: a recipe in a folder, run in this process against a real server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from loopback_teacher import LoopbackTeacher

from rlvr.run.stage_protocol import run_stage
from rlvr.stages.distill.distill_stage import STAGE

QUICK = {"timeout_s": 5, "backoff_s": 0.01, "put_aside_s": 0.05}


def patient(*servers: LoopbackTeacher, **endpoint: Any) -> dict[str, Any]:
    """A teacher or judge section over servers."""
    endpoints = [
        {"url": server.url, "model": "m", "name": f"t{i}", "concurrency": 4, **endpoint}
        for i, server in enumerate(servers)
    ]
    return {"endpoints": endpoints, **QUICK}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """A recipe's file and its run folder."""

    recipe: Path
    folder: Path

    def run(self, *overrides: str) -> int:
        return run_stage(STAGE, str(self.recipe), overrides)

    def rows(self, name: str = "rows") -> list[dict[str, Any]]:
        return read_jsonl(self.folder / f"{name}.jsonl")

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "summary.json").read_text(encoding="utf-8")))


def distillation(
    folder: Path, tasks: Sequence[Mapping[str, Any]], teacher: Mapping[str, Any], **recipe: Any
) -> Distillation:
    """Write a recipe for tasks with a prompt and optional columns, all of them mapped."""
    write_jsonl(folder / "tasks.jsonl", tasks)
    names = {name: name for name in tasks[0]}
    columns = names if "answer" in names else {**names, "answer": ""}
    source = {"source": "jsonl", "path": str(folder / "tasks.jsonl"), "columns": columns}
    data = {"stage": "distill", "name": "run", "output_dir": str(folder / "runs"), "tasks": source}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**data, "teacher": dict(teacher), **recipe}), encoding="utf-8")
    return Distillation(recipe=path, folder=folder / "runs" / "run")


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
