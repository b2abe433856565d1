"""Waits that end when the user stops the run."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time

import pytest

from rlvr.cluster.signals import in_daemon_thread, signals_held, unless_stopped
from rlvr.errors import ConfigError, Stopped


async def set_soon(stop: asyncio.Event) -> None:
    await asyncio.sleep(0.01)
    stop.set()


def test_work_that_ends_first_gives_its_result_or_its_error() -> None:
    async def failing() -> None:
        raise ConfigError("model.path: ...")

    async def both() -> None:
        stop = asyncio.Event()
        assert await unless_stopped(asyncio.sleep(0, "done"), stop, step=3) == "done"
        with pytest.raises(ConfigError):
            await unless_stopped(failing(), stop, step=3)

    asyncio.run(both())


def test_a_stop_cancels_the_work_and_names_the_last_step() -> None:
    async def stopped() -> None:
        stop, work = asyncio.Event(), asyncio.ensure_future(asyncio.sleep(60))
        setting = asyncio.create_task(set_soon(stop))
        with pytest.raises(Stopped) as raised:
            await unless_stopped(work, stop, step=3)
        await setting
        assert raised.value.step == 3
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(stopped())


def test_after_a_stop_further_work_is_not_awaited() -> None:
    async def stopped() -> None:
        stop = asyncio.Event()
        stop.set()
        with pytest.raises(Stopped):
            await unless_stopped(asyncio.sleep(60), stop, step=0)

    asyncio.run(asyncio.wait_for(stopped(), 5))


def test_a_thread_returns_its_result_or_raises_its_error() -> None:
    def failing() -> None:
        raise ConfigError("tokenizer")

    async def both() -> None:
        assert await in_daemon_thread(lambda: 7) == 7
        with pytest.raises(ConfigError):
            await in_daemon_thread(failing)

    asyncio.run(both())


def test_a_stop_does_not_wait_for_a_thread() -> None:
    released = threading.Event()

    async def stopped() -> None:
        stop = asyncio.Event()
        setting = asyncio.create_task(set_soon(stop))
        with pytest.raises(Stopped):
            await unless_stopped(in_daemon_thread(lambda: released.wait(60)), stop, step=0)
        await setting

    started = time.monotonic()
    asyncio.run(stopped())
    assert time.monotonic() - started < 5
    released.set()


@pytest.mark.slow
def test_a_process_ends_while_a_daemon_thread_is_in_c_plus_plus() -> None:
    """With sys.exit: "terminate called without an active exception", status -6."""
    code = """
import atexit, threading, torch
from rlvr.cluster.signals import exit_process
working = threading.Event()
def work():
    matrix = torch.ones(400, 400)
    while True:
        matrix @ matrix
        working.set()
atexit.register(print, "exit functions have run")
threading.Thread(target=work, daemon=True).start()
working.wait()
exit_process(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "exit functions have run\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_held_until_the_end(number: int) -> None:
    before = signal.getsignal(number)
    reached = []
    with pytest.raises(KeyboardInterrupt), signals_held():
        signal.raise_signal(number)
        reached.append("the end")
    assert reached == ["the end"]
    assert signal.getsignal(number) == before
    with signals_held():
        pass
