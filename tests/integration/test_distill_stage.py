"""The command `rlvr distill` as its own process: killed, out of disk, and without a teacher."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "rlvr"))  # teachers and recipes are shared

from distill_runs import Distillation, distillation, patient, read_jsonl
from loopback_teacher import (
    Ask,
    Fails,
    HalfCloses,
    Hangs,
    Junk,
    LoopbackTeacher,
    Resets,
    Says,
)

NUM_TASKS = 50
TASKS = [{"prompt": f"{i}+1?", "answer": str(i + 1)} for i in range(NUM_TASKS)]
FAULTS = [Fails(500), Fails(429, retry_after="0.05"), Junk(), HalfCloses(), Hangs(), Resets()]
STYLES = ("split", "inline", "opened")
KEY = "sk-Very-Secret-1"


def faulty(ask: Ask) -> Any:
    """Every tenth call fails, each time in another way."""
    if ask.number % 10 == 4:
        return FAULTS[ask.number // 10 % len(FAULTS)]
    number = int(ask.text.partition("+")[0])
    return Says(rf"\boxed{{{number + 1}}}", thought="hm", style=STYLES[number % 3])


def command(run: Distillation, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "rlvr", "distill", str(run.recipe), *overrides]


def start(run: Distillation, *overrides: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(run, *overrides),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TEACHER_KEY": KEY},
    )


def finish(run: Distillation, *overrides: str, **options: Any) -> tuple[int, str]:
    """Exit status and all that was printed."""
    done = subprocess.run(
        command(run, *overrides),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        env={**os.environ, "TEACHER_KEY": KEY},
        **options,
    )
    return done.returncode, done.stdout


def wait_for_rows(path: Path, num_rows: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < num_rows:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_all_rows_are_there(run: Distillation) -> None:
    ids = [f"jsonl/{i}#0" for i in range(1, NUM_TASKS + 1)]
    for name in ("rows", "kept"):
        rows = run.rows(name)
        assert [row["id"] for row in rows] == ids
        assert all(row["score"] == 10 and row["reasoning_content"] == "hm" for row in rows)
    assert sorted(row["id"] for row in read_jsonl(run.folder / "replies.jsonl")) == sorted(ids)


@pytest.fixture
def recipe() -> dict[str, Any]:
    return {"filter": {"min_score": 5}, "export": ["alpaca"]}


def test_fifty_prompts_survive_faults_and_kills_without_lost_or_repeated_rows(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    goes_silent_after = 12  # so that each signal comes in the middle, however slow the machine is
    num_answers = 0

    def script(ask: Ask) -> Any:
        nonlocal num_answers
        reply = faulty(ask)
        if isinstance(reply, Says):
            num_answers += 1
        return reply if num_answers <= goes_silent_after else Hangs()

    with LoopbackTeacher(script, latency_s=0.02) as server:
        teacher = {**patient(server, key_env="TEACHER_KEY"), "timeout_s": 1}
        run = distillation(tmp_path, TASKS, teacher, **recipe)
        for times, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), start=1):
            goes_silent_after = num_answers + 12
            process = start(run)
            wait_for_rows(run.folder / "replies.jsonl", 8 * times)
            process.send_signal(how)
            printed, _ = process.communicate(timeout=60)
            assert process.returncode == (1 if how is signal.SIGTERM else -signal.SIGKILL)
            assert "Traceback" not in printed
            if how is signal.SIGTERM:
                last = "rlvr: stopped; the same command resumes with the missing rows"
                assert printed.splitlines()[-1] == last
        goes_silent_after = 1000
        status, printed = finish(run)
        assert (status, num_answers < 80) == (0, True)
    assert_all_rows_are_there(run)
    assert "50 of 50 rows; dropped: none; scored by: rule 50" in printed
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    status, printed = finish(run)  # calls nobody: the server is gone
    assert status == 0
    assert printed.splitlines()[1:] == [
        f"This run is finished. To start over: another name=..., or delete {run.folder}"
    ]


def test_a_full_disk_is_one_line_and_the_run_resumes_when_there_is_room(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))  # Python ignores SIGXFSZ

    with LoopbackTeacher(faulty) as server:
        run = distillation(tmp_path, TASKS, {**patient(server), "timeout_s": 1}, **recipe)
        status, printed = finish(run, preexec_fn=small_files)
        last = printed.splitlines()[-1]
        assert status == 1
        assert "Traceback" not in printed
        assert last.startswith("rlvr: ")
        assert "replies.jsonl: cannot be written: File too large; make room" in last
        num_rows = len(read_jsonl(run.folder / "replies.jsonl"))  # all of them whole
        assert 0 < num_rows < NUM_TASKS
        assert finish(run)[0] == 0
    assert_all_rows_are_there(run)


def test_an_unreachable_teacher_is_one_line(tmp_path: Path, recipe: dict[str, Any]) -> None:
    with LoopbackTeacher(lambda ask: Fails(401, f"bad key {KEY}")) as server:
        teacher = patient(server, key_env="TEACHER_KEY")
        run = distillation(tmp_path, TASKS, teacher, **recipe)
        status, printed = finish(run)
    assert status == 1
    assert printed.splitlines()[-1] == "rlvr: no endpoint is left: t0: 401 bad key [key]"
    assert KEY not in printed
    status, printed = finish(run, "teacher.endpoints=[{url: here, model: m}]")
    assert status == 2
    line = "teacher.endpoints.0.url: 'here' is not an address; allowed: http(s)://HOST[:PORT]/v1"
    assert printed == f"rlvr: {line}\n"
