"""Stacks of other processes, whatever they are doing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.cluster.stacks import PROCESSES, collect_stacks

PROGRAM = """
import sys, threading, time
from pathlib import Path
from rlvr.cluster.stacks import answer_stack_requests

def holds_the_interpreter():
    sum(range(10 ** 12))  # never returns to the loop that would see a Python signal handler

threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
answer_stack_requests(Path(sys.argv[1]))
holds_the_interpreter()
"""


def registration(logs: Path) -> Path:
    return logs / PROCESSES / "engine_0.json"


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A registered process whose main thread is in C and does not return."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "engine_0.log")]
    process = subprocess.Popen(command)
    try:
        until = time.monotonic() + 60
        while not registration(tmp_path).exists():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_process_that_hangs_writes_the_stacks_of_its_threads(
    hanging: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    for _ in range(2):  # the second collection has its own stacks alone
        text = asyncio.run(collect_stacks(tmp_path))["engine_0"]
        assert text.count("in holds_the_interpreter") == 1
        assert text.count("Current thread") == text.count("Thread ") == 1
    assert hanging.poll() is None


def test_a_stopped_process_is_named_with_its_state(
    hanging: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    hanging.send_signal(signal.SIGSTOP)
    text = asyncio.run(collect_stacks(tmp_path))["engine_0"]
    assert text.startswith(f"process {hanging.pid} has written nothing within 2 s; its state in ")
    assert text.endswith("stat: T\n")


def test_a_dead_process_is_named(hanging: subprocess.Popen[bytes], tmp_path: Path) -> None:
    hanging.kill()
    hanging.wait()
    stacks = asyncio.run(collect_stacks(tmp_path))
    assert stacks == {"engine_0": f"process {hanging.pid} has ended\n"}


def test_another_process_with_the_same_id_is_not_signalled(
    hanging: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        file = registration(tmp_path)
        process = json.loads(file.read_text()) | {"pid": other.pid}
        file.write_text(json.dumps(process))
        stacks = asyncio.run(collect_stacks(tmp_path))
        assert stacks == {"engine_0": f"process {other.pid} has ended\n"}
        time.sleep(0.1)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_without_processes_there_are_no_stacks(tmp_path: Path) -> None:
    assert asyncio.run(collect_stacks(tmp_path / "logs")) == {}
    assert not os.listdir(tmp_path)
