"""The cost of the sandbox on one core, compared with plain Python: `python -m bench.sandbox`.

programs/s      plain subprocess, bubblewrap and each tier, alternating so that load affects all
calls/s         a function's cases, one after another in one process
stdin cases/s   a program's cases, a new process each
latency         one program at a time on an idle worker
overrun         time past the wall limit until a job that ignores all signals has ended
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import describe_machine, load_average, use_cores
from sandbox import Limits, SandboxUnavailable, Verdict
from sandbox.jobs import Local, Program
from sandbox.judging import judge
from sandbox.tiers import Tier, probe

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results"
CODE = "print(int(input()) * 2)"
SCRIPT = Program(payload={"mode": "script", "code": CODE})
FUNCTION = "def double(x):\n    return x * 2"
LIMITS = Limits(wall_s=10, cpu_s=5)
SHORT = Limits(wall_s=0.5, cpu_s=5, processes=128)
SLEEPER = "import time; time.sleep(60)"
FAMILY = """
import os, signal, time
for _ in range(63):
    if os.fork() == 0:
        os.setsid()
        break
for number in range(1, 64):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    time.sleep(1)
"""
BWRAP = shlex.split(
    "bwrap --unshare-all --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 "
    "--symlink usr/bin /bin --proc /proc --dev /dev --tmpfs /tmp --die-with-parent"
)
Action = Callable[[], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 done, 1 no tier works here."""
    options = _parser().parse_args(arguments)
    use_cores(1)
    tiers = _tiers()
    if not tiers:
        print("bench: no tier of the sandbox works on this machine", file=sys.stderr)
        return 1
    record = {
        "processor": describe_machine()["processor"],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": load_average(),
        "rates": _rates(tiers, options.rounds, options.runs),
        "tiers": {tier.name: _measured(tier, options.runs) for tier in tiers},
        "load_after": load_average(),
    }
    for tier in tiers:
        tier.close()
    path = RESULTS / f"{date.today()}-sandbox.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(_report(record), f"\nAll figures: {path}", sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.sandbox", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="runs of all sides, alternating")
    parser.add_argument("--runs", type=int, default=60, help="of each side in a round")
    return parser


def _tiers() -> list[Tier]:
    found = []
    for name in ("namespaces", "landlock"):
        try:
            found.append(probe(name))
        except SandboxUnavailable as error:
            print(f"bench: {name} is skipped: {error}", file=sys.stderr)
    return found


def _rates(tiers: Sequence[Tier], rounds: int, runs: int) -> dict[str, list[float]]:
    """Return the programs per second of each side in each round."""
    sides = _plain_sides() | {tier.name: _fresh(tier.backend) for tier in tiers}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, action in sides.items():
            rates[name].append(_per_second(action, runs))
    return rates


def _plain_sides() -> dict[str, Action]:
    python = getattr(sys, "_base_executable", sys.executable)
    sides = {"python -I -S": _process([python, "-I", "-S", "-c", CODE])}
    if shutil.which("bwrap") and Path("/usr/bin/python3").exists():
        sides["bwrap python -I -S"] = _process([*BWRAP, "/usr/bin/python3", "-I", "-S", "-c", CODE])
    return sides


def _process(command: Sequence[str]) -> Action:
    def action() -> None:
        done = subprocess.run(command, input=b"21", capture_output=True, check=True)
        assert done.stdout == b"42\n"

    return action


def _fresh(backend: Any) -> Action:
    def action() -> None:
        assert backend.execute(SCRIPT, stdin=b"21", limits=LIMITS).stdout == b"42\n"

    return action


def _per_second(action: Action, runs: int) -> float:
    action()
    start = time.perf_counter()
    for _ in range(runs):
        action()
    return runs / (time.perf_counter() - start)


def _measured(tier: Tier, runs: int) -> dict[str, Any]:
    assert isinstance(tier.backend, Local)
    calls = [{"args": [n], "output": 2 * n} for n in range(10 * runs)]
    texts = [{"input": str(n), "output": str(2 * n)} for n in range(10 * runs)]
    return {
        "calls_per_s": _cases_per_s(tier.backend, FUNCTION, calls, function="double"),
        "stdin_cases_per_s": _cases_per_s(tier.backend, CODE, texts, function=None),
        "latency_ms": _latencies_ms(tier.backend, 5 * runs),
        "overrun_ms": _overruns_ms(tier.backend, SLEEPER),
        "overrun_family_ms": _overruns_ms(tier.backend, FAMILY) if tier.name != "landlock" else [],
    }


def _cases_per_s(
    backend: Local, code: str, cases: Sequence[Mapping[str, Any]], *, function: str | None
) -> float:
    start = time.perf_counter()
    judged = judge(code, cases, function=function, limits=LIMITS, backend=backend)
    assert judged.verdict is Verdict.ACCEPTED
    return len(cases) / (time.perf_counter() - start)


def _latencies_ms(backend: Local, runs: int) -> list[float]:
    found, action = [], _fresh(backend)
    for _ in range(runs):
        time.sleep(0.005)  # idle before each
        start = time.perf_counter()
        action()
        found.append((time.perf_counter() - start) * 1000)
    return sorted(found)


def _overruns_ms(backend: Local, code: str, runs: int = 10) -> list[float]:
    found = []
    program = Program(payload={"mode": "script", "code": code})
    for _ in range(runs):
        start = time.perf_counter()
        result = backend.execute(program, limits=SHORT)
        assert result.verdict is Verdict.TIME_LIMIT, result
        found.append((time.perf_counter() - start - SHORT.wall_s) * 1000)
    return sorted(found)


def _report(record: Mapping[str, Any]) -> str:
    plain = median(record["rates"]["python -I -S"])
    lines = [
        f"{record['processor']}, one core, Linux {record['kernel']}, Python {record['python']}, "
        f"load average {record['load_before']:.1f} to {record['load_after']:.1f}",
        "",
        "| side | programs/s (range) | to `python -I -S` | calls/s | stdin cases/s "
        "| latency p50, p99, ms "
        "| overrun p100, ms | of 64 processes, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rates in record["rates"].items():
        own = record["tiers"].get(name)
        cells = [""] * 5 if own is None else _cells(own)
        speed = f"{median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
        lines.append(
            " | ".join([f"| {name}", speed, f"{median(rates) / plain:.2f}", *cells]) + " |"
        )
    return "\n".join(lines)


def _cells(own: Mapping[str, Any]) -> list[str]:
    latency, family = own["latency_ms"], own["overrun_family_ms"]
    return [
        f"{own['calls_per_s']:,.0f}",
        f"{own['stdin_cases_per_s']:.0f}",
        f"{median(latency):.1f}, {latency[int(len(latency) * 0.99)]:.1f}",
        f"{max(own['overrun_ms']):.0f}",
        f"{max(family):.0f}" if family else "no forks",
    ]


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    sys.exit(main())
