"""A run as a submitted job: a Ray head on loopback, `ray job submit`, its log, `ray job stop`."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from actor_groups import tiny_recipe
from whole_runs import (
    START_S,
    Run,
    assert_nothing_is_left,
    checkpoint_steps,
    environment,
    shared_memory,
    spawn,
    train_lines,
    wait_until,
    write_recipe,
)

RAY = str(Path(sys.executable).with_name("ray"))
REPOSITORY = Path(__file__).parents[2]
JOB = "tiny-job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A Ray head."""

    run: Run
    address: str  # of its dashboard
    settings: Mapping[str, str]  # environment of those who may talk to it

    def job(self, command: str, *arguments: str, timeout_s: float = 120) -> str:
        """Output of `ray job COMMAND`."""
        done = subprocess.run(
            [RAY, "job", command, "--address", self.address, *arguments],
            cwd=REPOSITORY,
            env={**environment(self.run.mark), **self.settings},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout + done.stderr


@contextlib.contextmanager
def ray_head(folder: Path) -> Iterator[Head]:
    """A head with dashboard on free ports of 127.0.0.1, in the foreground of its own session."""
    ports = _free_ports(4)
    temp_dir = f"/tmp/ray_{ports[0]}"  # short: it holds sockets
    options = {
        "port": 0,
        "node-ip-address": "127.0.0.1",
        "dashboard-host": "127.0.0.1",
        "dashboard-port": ports[0],
        "dashboard-agent-listen-port": ports[1],
        "dashboard-agent-grpc-port": ports[2],
        "metrics-export-port": ports[3],
        "num-cpus": 2,
        "object-store-memory": 256 << 20,
        "temp-dir": temp_dir,
    }
    command = [RAY, "start", "--head", "--block", "--disable-usage-stats"]
    command += [f"--{name}={value}" for name, value in options.items()]
    token = folder / "token"  # of this cluster alone
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    run = spawn(command, folder, run_folder=folder / "tiny", settings=settings)
    try:
        yield Head(run=run, address=f"http://127.0.0.1:{ports[0]}", settings=settings)
    finally:
        run.end()
        shutil.rmtree(temp_dir, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _answers(head: Head) -> bool:
    host, _, port = head.address.removeprefix("http://").partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    assert head.run.process.poll() is None, head.run.error_lines
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Files and log of a job that was stopped in the middle."""

    folder: Path
    log: str
    status: str


@pytest.fixture(scope="module")
def stopped(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """The job of the README, with a tiny recipe, stopped after its third step."""
    folder = tmp_path_factory.mktemp("job")
    recipe = tiny_recipe(
        tiny_model,
        folder,
        num_steps=500,
        rewards={"odd_rewards:slow_letters": 1.0, "accuracy": 1.0},
        checkpoint={"every_steps": 400},
    )
    entry = ["rlvr", "grpo", str(write_recipe(recipe, folder))]
    entry[0] = shlex.quote(str(Path(sys.executable).with_name("rlvr")))
    before = shared_memory()
    with ray_head(folder) as head:
        wait_until(lambda: _answers(head), 90, "dashboard")
        submit = ["--submission-id", JOB, "--no-wait", "--working-dir", "."]
        head.job("submit", *submit, "--runtime-env", "runtime_env.yaml", "--", *entry)
        wait_until(lambda: len(train_lines(folder / "tiny")) >= 3, START_S, "third step")
        head.run.look_around()
        head.job("stop", JOB)
        log, status = head.job("logs", JOB), head.job("status", JOB)
        head.run.process.send_signal(signal.SIGTERM)
        head.run.process.wait(30)
        assert_nothing_is_left(head.run, before)
    return Stopped(folder=folder / "tiny", log=log, status=status)


def test_a_stopped_job_has_written_a_checkpoint_of_its_last_step(stopped: Stopped) -> None:
    last = train_lines(stopped.folder)[-1]["step"]
    assert 3 <= last < 400  # far from the next checkpoint that was due
    assert checkpoint_steps(stopped.folder) == [last]


def test_the_jobs_log_has_its_steps_and_how_to_resume(stopped: Stopped) -> None:
    last = train_lines(stopped.folder)[-1]["step"]
    for step in range(1, last + 1):
        assert f"step {step}/500" in stopped.log
    assert f"stopped after step {last}, saved in a checkpoint" in stopped.log


def test_ray_says_that_the_job_was_stopped(stopped: Stopped) -> None:
    assert f"'{JOB}' was stopped" in stopped.status
