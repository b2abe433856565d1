"""Step time against group size, length, engines and model size: `python -m bench.growth`.

    for each model and number of engines: one session of actors
        for each point: a few on-policy steps of the trainer's own loop, the fastest is kept
    --> bench/results/growth.json, docs/growth.svg, the table in docs/benchmarks.md

All completions have the same length. The exponent of an axis is the slope of the logarithm of the
step time against that of the work (bench/growth_points.py). 1 is growth in proportion to the work;
a fixed cost per step makes it smaller. The engines share the same cores and the same work.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.growth_points import AXES, Axis, ModelShape, Point, points_of, work_flops
from bench.growth_report import Measurement, write_report
from bench.machine import describe_machine, load_average, use_cores
from bench.sides import ROOT
from bench.wide_model import make_wide_model
from rlvr.config import load_config
from rlvr.config.training_sections import RetentionSection
from rlvr.data.inputs import Inputs
from rlvr.errors import RLVRError, Stopped
from rlvr.grpo.generation_session import GenerationSession, run_session
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.grpo_stage import check_inputs
from rlvr.grpo.held_out_eval import Evaluation
from rlvr.grpo.launch import make_loop
from rlvr.run.checkpoints import Checkpoints
from rlvr.run.run_folder import RunFolder
from rlvr.types import Batch, Group

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all axes and write the report; return the exit status."""
    options = _parser().parse_args(arguments)
    os.environ["PYTHONPATH"] = str(ROOT)  # reward workers import bench
    machine = {**describe_machine(), "cores": use_cores(options.cores)}
    axes = [axis for axis in AXES if axis.name in options.axes.split(",")]
    if options.quick:
        axes = [replace(axis, points=axis.points[:2]) for axis in axes]
    started, load = time.monotonic(), load_average()
    found: list[Measurement] = []
    try:
        for (shape, num_engines), points in points_of(axes).items():
            with tempfile.TemporaryDirectory(prefix="bench-growth-") as folder:
                found += _measure(
                    points, shape, num_engines, Path(folder), num_steps=1 if options.quick else 2
                )
    except Stopped as stopped:
        print("bench: stopped; nothing is written", file=sys.stderr)
        return stopped.exit_status
    except RLVRError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_status
    machine |= {"load_before": load, "load_after": load_average()}
    machine |= {"date": time.strftime("%Y-%m-%d"), "wall_s": time.monotonic() - started}
    is_whole = not options.quick and len(axes) == len(AXES)
    print(write_report(machine, axes, found, root=ROOT if is_whole else None))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    names = ",".join(axis.name for axis in AXES)
    parser.add_argument("--axes", default=names, help=f"some of {names}")
    parser.add_argument("--cores", type=int, default=2, help="CPU cores of all processes together")
    parser.add_argument(
        "--quick", action="store_true", help="two points of each axis, one step; writes no files"
    )
    return parser


def _measure(
    points: Sequence[tuple[Axis, Point]],
    shape: ModelShape,
    num_engines: int,
    folder: Path,
    *,
    num_steps: int,
) -> list[Measurement]:
    """Measure the points of one session."""
    make_wide_model(folder / "model", mean_tokens=None, **asdict(shape))
    longest = max(point.max_tokens for _, point in points)
    common = [
        f"model.path={folder / 'model'}",
        f"output_dir={folder}",
        f"rollout.num_engines={num_engines}",
    ]
    config = _config([*common, f"rollout.max_tokens={longest}", "rollout.tasks_per_step=8"])
    print(f"{shape.num_params / 1e6:.1f} M parameters, {num_engines} engines", flush=True)

    async def work(session: GenerationSession) -> list[Measurement]:
        await _steps(session, common, folder, points[0][1], num_steps=1)  # to warm up
        return [
            await _measurement(session, common, folder, axis, point, num_steps=num_steps)
            for axis, point in points
        ]

    run = RunFolder(folder / "run")
    return run_session(config, run, check_inputs(config), work, say=lambda text: None)


def _config(overrides: Sequence[str]) -> GrpoConfig:
    return load_config(GrpoConfig, ROOT / "bench" / "growth.yaml", overrides)


async def _measurement(
    session: GenerationSession,
    common: Sequence[str],
    folder: Path,
    axis: Axis,
    point: Point,
    *,
    num_steps: int,
) -> Measurement:
    """Return the fastest step of a point."""
    steps, inputs = await _steps(session, common, folder, point, num_steps=num_steps)
    fastest = min(steps, key=lambda step: step["time/step_s"])
    expected = point.tasks * point.group_size * point.max_tokens
    assert fastest["tokens/completion"] == expected, "a completion ended early"
    prompts = [session.encoder.encode(inputs.tasks.task(i)) for i in range(64)]
    prompt_tokens = sum(map(len, prompts)) / len(prompts)
    found = Measurement(
        axis=axis.name,
        value=point.value,
        work=work_flops(point, prompt_tokens=prompt_tokens),
        num_tokens=expected,
        step_s=fastest["time/step_s"],
        generate_s=fastest["time/generate_s"],
        learn_s=fastest["time/learn_s"],
        sync_s=fastest["time/sync_s"],
    )
    print(
        f"  {axis.name} {point.value:g}: {found.step_s:.2f} s (generate {found.generate_s:.2f}, "
        f"learn {found.learn_s:.2f})",
        flush=True,
    )
    return found


async def _steps(
    session: GenerationSession,
    common: Sequence[str],
    folder: Path,
    point: Point,
    *,
    num_steps: int,
) -> tuple[list[dict[str, Any]], Inputs]:
    """Take steps with the settings of a point; return the metrics of each."""
    config = _config(
        [
            *common,
            f"rollout.max_tokens={point.max_tokens}",
            f"rollout.tasks_per_step={point.tasks}",
            f"rollout.group_size={point.group_size}",
        ]
    )
    inputs, log = check_inputs(config), _StepLog()
    checkpoints = Checkpoints(folder / "checkpoints", keep=RetentionSection())  # none is written
    loop = make_loop(config, inputs, session, checkpoints=checkpoints, log=log)
    await loop.run(until=num_steps)
    return log.steps, inputs


@dataclass(slots=True)
class _StepLog:
    """The loop's Log: keeps the metrics of the steps."""

    steps: list[dict[str, Any]] = field(default_factory=list)

    def step(self, metrics: dict[str, Any], groups: Sequence[Group]) -> None:
        self.steps.append(metrics)

    def evaluation(self, evaluation: Evaluation, groups: Sequence[Group]) -> None:
        pass

    def phase(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    def settle(self) -> None:
        pass

    def broken_batch(self, batch: Batch, step: int) -> Path:
        return Path("nowhere")


if __name__ == "__main__":
    sys.exit(main())
