"""Workers that die, hang or break the protocol change no verdict; the choice of a tier."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sandbox import Limits, SandboxUnavailable, Verdict
from sandbox.__main__ import main
from sandbox.inside import linux
from sandbox.inside.protocol import Done, Job
from sandbox.jobs import Local, Program
from sandbox.tiers import Tier, probe
from sandbox.workers import SandboxPool

pytestmark = pytest.mark.slow  # workers are killed and hang

ROOT = Path(__file__).parents[2]
SCRIPT = Program(payload={"mode": "script", "code": "print(6 * 7)"})
SLEEPER = Program(payload={"mode": "script", "code": "import time; time.sleep(1); print('up')"})


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def guardians() -> set[int]:
    return {
        pid
        for pid in children(os.getpid())
        if b"sandbox.inside.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


def test_messages_come_back_as_they_were() -> None:
    job = Job(
        wall_ms=1,
        cpu_ms=2,
        memory_bytes=3,
        address_bytes=0,
        processes=4,
        disk_bytes=5,
        inodes=6,
        may_fork=True,
        collect=("a", "\udcff/b\n"),
    )
    assert Job.unpack(job.pack()) == job
    done = Done(
        wait_status=-1,
        cause=2,
        num_phases=1,
        wall_us=3,
        cpu_us=4,
        peak_bytes=5,
        collected=2,
    )
    assert Done.unpack(done.pack()) == done


def test_a_worker_killed_in_a_job_is_replaced_and_the_job_done_again(backend: Local) -> None:
    backend.execute(SCRIPT, limits=Limits())
    before = guardians()

    def kill_all() -> None:
        time.sleep(0.3)
        for pid in before & guardians():
            for worker in children(pid):
                os.kill(worker, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    result = backend.execute(SLEEPER, limits=Limits())
    killer.join()
    assert (result.verdict, result.stdout) == (Verdict.ACCEPTED, b"up\n")


def test_a_worker_that_hangs_is_ended_after_the_grace_and_replaced(backend: Local) -> None:
    with backend.pool.borrow() as [worker]:
        guardian = worker._process.pid

    def stop_it() -> None:
        time.sleep(0.2)
        for pid in children(guardian):
            os.kill(pid, signal.SIGSTOP)

    stopper = threading.Thread(target=stop_it)
    stopper.start()
    start = time.monotonic()
    result = backend.execute(SLEEPER, limits=Limits(wall_s=0.8, grace_s=0.5))
    stopper.join()
    assert result.verdict is Verdict.TIME_LIMIT
    assert time.monotonic() - start < 8
    assert not Path(f"/proc/{guardian}").exists()
    assert backend.execute(SCRIPT, limits=Limits()).stdout == b"42\n"


def test_a_worker_is_worn_after_many_jobs(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.workers._MAX_JOBS", 3)
    pool = SandboxPool(tier.name, size=2)
    backend = Local(pool)
    used = set()
    for _ in range(7):
        assert backend.execute(SCRIPT, limits=Limits()).stdout == b"42\n"
        used |= guardians()
    pool.close()
    assert len(used - guardians()) >= 2


def test_where_no_worker_can_start_it_is_ours_and_not_the_programs(tier: Tier) -> None:
    pool = SandboxPool(tier.name, size=2)
    pool.tier = "no such tier"  # what a worker that cannot start looks like
    result = Local(pool).execute(SCRIPT, limits=Limits())
    assert result.verdict is Verdict.INTERNAL_ERROR
    assert result.reason


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_tier_can_be_forced_and_a_minimum_demanded(tier: Tier) -> None:
    code = (
        "import sandbox\nprint(sandbox.the_tier().name, sandbox.run('print(1)').stdout)\n"
        "try:\n    sandbox.require('namespaces')\nexcept sandbox.SandboxUnavailable as error:\n"
        "    print(error)"
    )
    lines = run_python(code, SANDBOX_TIER=tier.name).stdout.splitlines()
    assert lines[0] == f"{tier.name} b'1\\n'"
    below = "the sandbox's tier is landlock, below namespaces. "
    assert lines[1:] == ([below] if tier.name == "landlock" else [])


def test_without_isolation_nothing_runs_unless_that_is_asked_for() -> None:
    code = "import sandbox\nprint(sandbox.run('print(1)').stdout)"
    unsafe = run_python(code, SANDBOX_TIER="unsafe")
    assert unsafe.stdout == "b'1\\n'\n"
    assert "WITHOUT isolation" in unsafe.stderr
    wrong = run_python(code, SANDBOX_TIER="docker")
    assert wrong.stdout == ""
    assert "SANDBOX_TIER is 'docker'; allowed: unsafe, remote, landlock, namespaces" in wrong.stderr


def test_a_machine_that_refuses_every_tier_is_told_what_helps() -> None:
    code = (
        "import sandbox, sandbox.tiers, sandbox.workers\n"
        "sandbox.workers._INTERPRETER = '/bin/false'\n"  # no worker comes up
        "try:\n    sandbox.run('print(1)')\nexcept sandbox.SandboxUnavailable as error:\n"
        "    print(error)"
    )
    text = run_python(code, SANDBOX_TIER="").stdout
    assert "SANDBOX_TIER is ''" in text
    environment = {key: value for key, value in os.environ.items() if key != "SANDBOX_TIER"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert "no isolation on this machine is good enough" in done.stdout
    assert "unprivileged user namespaces" in done.stdout
    assert "SANDBOX_URL" in done.stdout


@pytest.mark.skipif(linux.landlock_abi() == 0, reason="this kernel has no Landlock")
def test_where_the_kernel_has_landlock_its_tier_holds() -> None:
    """Else every test of that tier would skip, and nobody would notice."""
    probe("landlock").close()


def test_the_doctor_says_which_tiers_hold(tier: Tier, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert f"{tier.name} " in capsys.readouterr().out


def test_a_file_can_be_run_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print(input()[::-1])")
    command = [sys.executable, "-m", "sandbox", "run", str(tmp_path / "a.py"), "--wall-s", "5"]
    done = subprocess.run(command, cwd=ROOT, input=b"abc", capture_output=True, check=True)
    assert done.stdout == b"cba\n"
    assert b"sandbox: accepted" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "missing.py"], "missing.py"),
        (["run", "a.xyz"], "no language for the suffix '.xyz'"),
        (["run", "a.py", "--cpu-s", "-1"], "cpu_s is -1.0; it must be a finite number above 0"),
    ],
)
def test_wrong_input_on_the_command_line_is_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_no_tier_can_be_asked_for_that_does_not_exist() -> None:
    from sandbox import require

    with pytest.raises(ValueError, match="the lowest tier is 'best'"):
        require("best")


def test_unavailable_is_an_error_that_can_be_caught() -> None:
    assert issubclass(SandboxUnavailable, RuntimeError)
