"""`rewards` and `sandbox` are light: what they import, how long it takes, and what they export."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import rewards
import sandbox

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "ray", "vllm", "rlvr", "sympy", "math_verify", "numpy", "transformers"}


def in_fresh_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return result.stdout


def test_grading_plain_numbers_loads_nothing_heavy_and_starts_no_child() -> None:
    loaded = in_fresh_python(
        "import json, sys\n"
        "import sandbox\n"
        "from rewards import accuracy, think_format\n"
        "from rewards.math import math_accuracy\n"
        r"values = accuracy(['\\boxed{1/2}', '<answer>It is 7.</answer>'], ['0.5', '7'])"
        "\nassert values == [1.0, 1.0]\n"
        "assert not math_accuracy._POOL.is_started\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    assert HEAVY.isdisjoint(json.loads(loaded))


def test_importing_is_quick() -> None:
    """Best of three, since others may be busy; without the interpreter's own start."""
    code = "from time import process_time as now; t = now(); import rewards; print(now() - t)"
    assert min(float(in_fresh_python(code)) for _ in range(3)) < 0.4


def test_grading_leaves_no_process_behind() -> None:
    code = r"from rewards import accuracy; print(accuracy(['\\boxed{x+1}'], ['1+x']))"
    assert in_fresh_python(code) == "[1.0]\n"


@pytest.mark.parametrize("package", [rewards, sandbox])
def test_all_is_sorted_and_exists(package: object) -> None:
    exported = package.__all__  # type: ignore[attr-defined]
    assert exported == sorted(exported)
    assert all(hasattr(package, name) for name in exported)


def test_limits_refuse_what_is_no_limit() -> None:
    assert sandbox.Limits(wall_s=2).wall_s == 2
    for bad in (0, -1, float("inf"), float("nan"), True, "1"):
        with pytest.raises(ValueError, match=r"wall_s is .* it must be a finite number above 0"):
            sandbox.Limits(wall_s=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"processes is 1\.5; it must be a finite whole number"):
        sandbox.Limits(processes=1.5)  # type: ignore[arg-type]
