"""Children that hang, die or eat memory: killed, replaced, and compared with a control row."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rewards import Grade, Outcome
from rewards.worker_pool.pool import WorkerPool, WorkersUnavailable

ROOT = Path(__file__).resolve().parents[2]
HANG = "(lambda: [None for _ in iter(int, 1)])()"
HANG_IN_C = "9**9**9"
SLEEP = "__import__('time').sleep(30)"
DIE = "__import__('os')._exit(1)"
HUNGRY = "len(b'x' * 10**10)"
WORKER_PID = "__import__('os').getpid()"
FORK_SERVER_PID = "__import__('os').getppid()"


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(
        "builtins:eval", control="1 + 1", control_value=2, num_workers=2, deadline_s=0.3
    )
    yield pool
    pool.shutdown()


def from_main_thread(ask: Callable[[], Any]) -> Any:
    return ask()


def from_a_thread(ask: Callable[[], Any]) -> Any:
    replies: list[Any] = []
    thread = threading.Thread(target=lambda: replies.append(ask()))
    thread.start()
    thread.join()
    return replies[0]


def from_asyncio(ask: Callable[[], Any]) -> Any:
    async def main() -> Any:
        ask()
        return await asyncio.to_thread(ask)

    return asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("caller", [from_main_thread, from_a_thread, from_asyncio])
@pytest.mark.parametrize("payload", [HANG, HANG_IN_C, SLEEP, DIE, HUNGRY, "{}['x']"])
def test_a_payload_that_fails_twice_is_at_fault_and_the_pool_goes_on(
    pool: WorkerPool, caller: Callable[[Callable[[], Any]], Any], payload: str
) -> None:
    assert pool.ask("40 + 2") == 42
    started = time.monotonic()
    reply = caller(lambda: pool.ask(payload))
    assert time.monotonic() - started < 10
    assert isinstance(reply, Grade) and reply.outcome is Outcome.TIMEOUT
    assert pool.ask("40 + 2") == 42


def test_where_the_control_fails_too_no_one_is_at_fault() -> None:
    pool = WorkerPool("builtins:eval", control=DIE, control_value=2, deadline_s=0.3)
    assert pool.ask(DIE).outcome is Outcome.ERROR
    pool.shutdown()


def test_hanging_payloads_do_not_starve_the_others(pool: WorkerPool) -> None:
    started = time.monotonic()
    sums = {f"{i} + 1": i + 1 for i in range(200)}
    replies = pool.ask_each([HANG, *sums, HANG_IN_C])
    assert {payload: replies[payload] for payload in sums} == sums
    assert replies[HANG].outcome is replies[HANG_IN_C].outcome is Outcome.TIMEOUT
    assert time.monotonic() - started < 10


def test_many_threads_may_ask_at_once(pool: WorkerPool) -> None:
    results: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda i=i: results.__setitem__(i, pool.ask(f"{i} * 2")))
        for i in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: 2 * i for i in range(16)}


def test_no_child_is_started_before_it_is_needed(pool: WorkerPool) -> None:
    assert not pool.is_started
    pool.ask("1")
    assert pool.is_started


def test_shutdown_ends_the_children_and_the_next_question_starts_new_ones(pool: WorkerPool) -> None:
    pids = [pool.ask(WORKER_PID), pool.ask(FORK_SERVER_PID)]
    pool.shutdown()
    wait_until_gone(pids)
    assert pool.ask("1") == 1


def test_a_fork_server_that_was_killed_is_replaced(pool: WorkerPool) -> None:
    os.kill(pool.ask(FORK_SERVER_PID), signal.SIGKILL)
    assert pool.ask("40 + 2") == 42


def test_a_job_that_cannot_be_imported_is_named() -> None:
    pool = WorkerPool("no_such_module:job", control=1, control_value=1)
    with pytest.raises(WorkersUnavailable, match="no_such_module"):
        pool.ask(1)


def test_a_thread_that_started_a_worker_may_end(pool: WorkerPool) -> None:
    pid = from_a_thread(lambda: pool.ask(WORKER_PID))
    time.sleep(0.2)
    assert pool.ask(WORKER_PID) == pid


def test_a_fork_of_the_parent_has_a_pool_of_its_own(pool: WorkerPool) -> None:
    mine = pool.ask(WORKER_PID)
    code = (
        "import os, sys, time\n"
        "from rewards.worker_pool.pool import WorkerPool\n"
        "pool = WorkerPool('builtins:eval', control='2', control_value=2)\n"
        f"mine = pool.ask({WORKER_PID!r})\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        f"    other = pool.ask({WORKER_PID!r})\n"
        "    pool.shutdown()\n"
        "    os._exit(other == mine)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        f"assert pool.ask({WORKER_PID!r}) == mine\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False)
    assert result.returncode == 0
    assert pool.ask(WORKER_PID) == mine


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_children_end_with_their_parent_even_while_they_hang(how: signal.Signals) -> None:
    code = (
        "import signal\n"
        "from rewards.worker_pool.pool import WorkerPool\n"
        # a shell's background jobs inherit that it is ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "pool = WorkerPool('builtins:eval', control='2', control_value=2, deadline_s=60)\n"
        f"print(pool.ask({WORKER_PID!r}), pool.ask({FORK_SERVER_PID!r}), flush=True)\n"
        f"pool.ask({HANG_IN_C!r})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        time.sleep(0.2)
        parent.send_signal(how)
        parent.wait(timeout=15)
    wait_until_gone(pids)


def wait_until_gone(pids: list[int], timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end, f"still running: {[pid for pid in pids if is_running(pid)]}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """A zombie that waits for its new parent is gone as far as we are concerned."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
