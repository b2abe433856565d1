"""The files that say what a run is doing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from rlvr.grpo.stack_dump import StackDump
from rlvr.run.run_folder import RunFolder


class FakePool:
    """Waits for one request."""

    def describe(self) -> list[str]:
        return ["engine_0: 3 requests", "2 jobs are waiting"]


async def waits_for_an_engine() -> None:
    await asyncio.sleep(600)


async def collects_rollouts() -> None:
    await waits_for_an_engine()


@pytest.fixture(autouse=True)
def _signal() -> object:
    """Leave the signal as it was."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def dump_of(folder: Path, notes: list[str]) -> StackDump:
    dump = StackDump(RunFolder(folder), note=notes.append)
    dump.sources = (FakePool(), object())
    return dump


def the_files(folder: Path) -> dict[str, str]:
    (time,) = (folder / "stacks").iterdir()
    return {file.name: file.read_text() for file in time.iterdir()}


def test_a_signal_writes_tasks_threads_and_requests_while_the_run_goes_on(tmp_path: Path) -> None:
    notes: list[str] = []

    async def run() -> None:
        with dump_of(tmp_path, notes).on_signal():
            task = asyncio.create_task(collects_rollouts(), name="rollouts")
            await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGUSR1)
            async with asyncio.timeout(20):
                while not notes:
                    await asyncio.sleep(0.01)
            assert not task.done()
            task.cancel()

    asyncio.run(run())
    files = the_files(tmp_path)
    assert sorted(files) == ["driver.txt", "requests.txt"]
    assert files["requests.txt"] == "engine_0: 3 requests\n2 jobs are waiting\n"
    driver = files["driver.txt"]
    task = driver[driver.index("rollouts (most recent call last):") :]
    assert task.index("in collects_rollouts") < task.index("in waits_for_an_engine")
    assert "Current thread" in driver
    (note,) = notes
    assert note == (
        "stacks of 1 processes and requests under way: "
        f"{tmp_path / 'stacks' / next((tmp_path / 'stacks').iterdir()).name}"
    )


def test_the_stacks_of_a_loop_that_hangs_are_in_the_logs(tmp_path: Path) -> None:
    notes: list[str] = []

    def hangs() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    async def run() -> None:
        with dump_of(tmp_path, notes).on_signal():
            hangs()

    asyncio.run(run())
    assert notes == []
    text = (tmp_path / "logs" / "processes" / "driver.stacks").read_text()
    assert "in hangs" in text


def test_after_the_run_the_signal_does_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        with dump_of(tmp_path, []).on_signal():
            pass

    asyncio.run(run())
    os.kill(os.getpid(), signal.SIGUSR1)  # its default would end this process
    assert not (tmp_path / "stacks").exists()


def test_who_asks_while_they_are_written_waits_for_the_same_files(tmp_path: Path) -> None:
    notes: list[str] = []

    async def run() -> None:
        dump = dump_of(tmp_path, notes)
        await asyncio.gather(dump.write(), dump.write())

    asyncio.run(run())
    assert len(notes) == 1


def test_a_disk_that_takes_no_files_is_a_line_and_not_an_error(tmp_path: Path) -> None:
    notes: list[str] = []
    (tmp_path / "stacks").write_text("in the way")
    asyncio.run(dump_of(tmp_path, notes).write())
    (note,) = notes
    assert note.endswith("the stacks cannot be written: Not a directory")
