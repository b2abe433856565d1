"""Compare the speed with TRL's GRPOTrainer: `python -m bench.compare --model DIR`.

gradients equal? --no--> stop
  | yes
tuning: each side at a few thread counts and layouts; the fastest one is used
  |
rounds: TRL, ours on-policy, ours one step stale; repeated --> bench/results/*.json, Markdown table
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

from bench.gradient import compare_gradients
from bench.machine import describe_machine, load_average, use_cores
from bench.sides import ROOT, MeasuredStep, OurSettings, run_ours, run_trl
from bench.table import TRL, Speed, markdown, speed_of
from bench.trl_trainer import TrlSettings
from bench.wide_model import make_wide_model
from bench.workload import Workload
from rlvr.errors import RLVRError

__all__ = ["main"]

RESULTS = ROOT / "bench" / "results"
WARMUP_STEPS = 2
TUNE_STEPS = 2  # the first one warms up
MEAN_TOKENS = 40.0  # of the wide workload
VOCABULARIES = {"vocab32k": 32_000, "vocab151k": 151_936}  # of Llama 2 and Qwen2.5
VOCABULARY_OVERRIDES = ("rollout.tasks_per_step=4", "rollout.max_tokens=64")
TRL_ROWS = (16, 32)  # of 8 to 512; larger ones exceed the cache and cost up to half more


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the comparison."""

    name: str
    run: Callable[..., list[MeasuredStep]]  # (workload, settings, *, num_steps)
    settings: Sequence[TrlSettings | OurSettings]  # candidates; the fastest is used


@dataclass(kw_only=True)
class Record:
    """All measurements, as written to the result file."""

    machine: Mapping[str, Any]
    arguments: Mapping[str, Any]
    gradients: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    speeds: dict[str, dict[str, Speed]] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 done, 1 a side failed or the gradients differ, 2 wrong input."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    record = Record(
        machine={**describe_machine(), "cores": use_cores(options.cores)}, arguments=vars(options)
    )
    try:
        with tempfile.TemporaryDirectory(prefix="bench-model-") as folder:
            _compare(_workloads(options, Path(folder)), options, record)
    except RLVRError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_status
    finally:
        path = _write(record)
    print(f"\n{_heading(record)}\n\n{markdown(record.speeds)}\n\nAll figures: {path}")
    return 0


def _stop(*_: Any) -> NoReturn:
    """Raise an error, so that the running side is ended too."""
    raise RLVRError("stopped by SIGTERM")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    add = partial(parser.add_argument, type=int)
    parser.add_argument("--model", required=True, help="directory of the toy's base model")
    parser.add_argument("--workloads", default="toy,wide", help="of toy, wide, vocab32k, vocab151k")
    add("--steps", default=6, help="measured steps of a run, after 2 warm-up steps")
    add("--rounds", default=2, help="runs of each side, alternating")
    add("--cores", default=2, help="CPU cores of each side")
    add("--trl-threads", default=0, help="0: try 1 and all cores")
    add("--trl-rows", default=0, help="of a micro-batch; 0: try a few")
    add("--our-processes", default=0, help="engines and learner ranks; 0: try 1 and one per core")
    add("--our-threads", default=0, help="of each of them; 0: all cores on-policy, else 1")
    return parser


def _workloads(options: argparse.Namespace, folder: Path) -> list[Workload]:
    made = []
    names = options.workloads.split(",")
    if "toy" in names:
        overrides = (f"model.path={Path(options.model).resolve()}",)
        made.append(Workload("toy", ROOT / "recipes/toy/zero.yaml", overrides))
    if "wide" in names:
        path = folder / "wide"
        make_wide_model(path, mean_tokens=MEAN_TOKENS)
        made.append(Workload("wide", ROOT / "bench/wide.yaml", (f"model.path={path}",)))
    for name in [name for name in names if name in VOCABULARIES]:
        path = folder / name
        make_wide_model(path, mean_tokens=MEAN_TOKENS, vocab_size=VOCABULARIES[name])
        vocabulary = (f"model.path={path}", *VOCABULARY_OVERRIDES)
        made.append(Workload(name, ROOT / "bench/wide.yaml", vocabulary))
    return made


def _compare(workloads: Sequence[Workload], options: argparse.Namespace, record: Record) -> None:
    for workload in workloads:
        comparison = compare_gradients(workload)
        record.gradients[workload.name] = asdict(comparison)
        comparison.check()
        print(
            f"{workload.name}: same gradient, relative error {comparison.max_error:.1g}", flush=True
        )
    for workload in workloads:
        sides = [(side, _tune(side, workload, record)) for side in _sides(options)]
        steps: defaultdict[str, list[MeasuredStep]] = defaultdict(list)
        num_steps = WARMUP_STEPS + options.steps
        for _ in range(options.rounds):
            for side, settings in sides:
                steps[side.name] += _run(
                    side, settings, workload, record, num_steps=num_steps, num_warmup=WARMUP_STEPS
                )
        record.speeds[workload.name] = {
            name: speed_of(found, num_completions=workload.num_completions)
            for name, found in steps.items()
        }


def _sides(options: argparse.Namespace) -> list[Side]:
    threads = sorted({1, options.cores})
    trl = [
        TrlSettings(num_threads=num_threads, rows=rows)
        for num_threads in ([options.trl_threads] if options.trl_threads else threads)
        for rows in ([options.trl_rows] if options.trl_rows else TRL_ROWS)
    ]
    if not options.trl_rows:
        trl.append(TrlSettings(num_threads=1, rows=min(TRL_ROWS), continuous_batching=True))
    sides = [Side(name=TRL, run=run_trl, settings=trl)]
    for staleness in (0, 1):
        ours = [
            OurSettings(max_staleness=staleness, num_processes=processes, num_threads=n)
            for processes, n in _layouts(options, staleness)
        ]
        sides.append(Side(name=f"ours, max_staleness {staleness}", run=run_ours, settings=ours))
    return sides


def _layouts(options: argparse.Namespace, staleness: int) -> list[tuple[int, int]]:
    """Return (engines, threads of each) to try; engines and learner ranks are as many."""
    cores = options.cores
    if options.our_processes:
        return [(options.our_processes, options.our_threads or cores // options.our_processes)]
    one = 1 if staleness else cores  # engine and learner share the cores, or take turns
    return list(dict.fromkeys([(1, options.our_threads or one), (cores, 1)]))


def _tune(side: Side, workload: Workload, record: Record) -> TrlSettings | OurSettings:
    """Return the fastest settings of a side."""

    def step_s(settings: TrlSettings | OurSettings) -> float:
        steps = _run(side, settings, workload, record, num_steps=TUNE_STEPS, num_warmup=1)
        return median(step.step_s for step in steps)

    return min(side.settings, key=step_s) if len(side.settings) > 1 else side.settings[0]


def _run(
    side: Side,
    settings: TrlSettings | OurSettings,
    workload: Workload,
    record: Record,
    *,
    num_steps: int,
    num_warmup: int,
) -> list[MeasuredStep]:
    """Run a side, record all steps and return those after the warm-up."""
    load_before = load_average()
    steps = side.run(workload, settings, num_steps=num_steps)
    measured = steps[num_warmup:]
    record.runs.append(
        {
            "workload": workload.name,
            "side": side.name,
            "settings": asdict(settings),
            "load_before": load_before,
            "load_after": load_average(),
            "num_warmup": num_warmup,
            "steps": [asdict(step) for step in steps],
        }
    )
    seconds = median(step.step_s for step in measured)
    print(f"{workload.name}: {side.name} {asdict(settings)}: {seconds:.2f} s per step", flush=True)
    return measured


def _heading(record: Record) -> str:
    machine = record.machine
    loads = [run[key] for run in record.runs for key in ("load_before", "load_after")]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, cores {machine['cores']}, load average {min(loads):.1f} to "
        f"{max(loads):.1f} (including the benchmark); {versions}"
    )


def _write(record: Record) -> Path:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
