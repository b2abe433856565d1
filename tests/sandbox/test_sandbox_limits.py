"""Each tier enforces each limit, and a finished run leaves nothing behind."""

from __future__ import annotations

import shutil
import time

import pytest

from sandbox import Limits, RunResult, Verdict
from sandbox.jobs import Local, Program
from sandbox.languages import language_named
from sandbox.tiers import Tier

pytestmark = pytest.mark.slow  # each limit is reached

MIB = 1 << 20
SHORT = Limits(wall_s=5.0, cpu_s=3.0)


def limits(**changed: float) -> Limits:
    return Limits(**{"wall_s": 5.0, "cpu_s": 3.0, **changed})  # type: ignore[arg-type]


def run(backend: Local, code: str, limits: Limits = SHORT, **options: object) -> RunResult:
    program = Program(payload={"mode": "script", "code": code})
    return backend.execute(program, limits=limits, **options)  # type: ignore[arg-type]


def test_wall_time(backend: Local) -> None:
    start = time.monotonic()
    result = run(backend, "import time; time.sleep(60)", limits(wall_s=0.3))
    assert result.verdict is Verdict.TIME_LIMIT
    assert "more than 0.3 s" in result.reason
    assert 0.3 <= time.monotonic() - start < 5


def test_processor_time(backend: Local) -> None:
    result = run(backend, "while True: pass", limits(cpu_s=0.3, wall_s=10))
    assert (result.verdict, result.reason) == (
        Verdict.TIME_LIMIT,
        "more than 0.3 s of processor time",
    )
    assert 0.3 < result.cpu_s < 1.5


def test_processor_time_of_several_threads_is_added(backend: Local) -> None:
    code = (
        "import threading, hashlib\n"
        "def work():\n    while True: hashlib.sha256(bytes(1 << 20)).digest()\n"
        "for _ in range(4): threading.Thread(target=work).start()"
    )
    assert run(backend, code, limits(cpu_s=0.5, wall_s=20)).verdict is Verdict.TIME_LIMIT


def test_memory(backend: Local) -> None:
    result = run(backend, "x = bytearray(300 << 20)", limits(memory_bytes=128 * MIB))
    assert result.verdict is Verdict.MEMORY_LIMIT


def test_shared_memory_without_a_file_is_refused_since_nobody_could_count_it(
    backend: Local,
) -> None:
    result = run(backend, "import mmap; mmap.mmap(-1, 4096)")
    assert result.verdict is Verdict.RUNTIME_ERROR
    assert "PermissionError" in result.reason


def test_a_control_group_counts_what_no_watch_sees(tier: Tier, backend: Local) -> None:
    if not tier.details["has_cgroup"] or tier.name != "namespaces":
        pytest.skip("no control group can be made here, or files are not in memory")
    code = "f = open('x', 'wb')\nfor _ in range(200): f.write(bytes(1 << 20))\nprint('all')"
    result = run(backend, code, limits(memory_bytes=64 * MIB, disk_bytes=256 * MIB))
    assert (result.verdict, result.stdout) == (Verdict.MEMORY_LIMIT, b"")


def test_memory_within_the_limit_is_there(backend: Local) -> None:
    code = "x = bytearray(100 << 20); print(len(x) >> 20)"
    result = run(backend, code, limits(memory_bytes=192 * MIB))
    assert (result.verdict, result.stdout) == (Verdict.ACCEPTED, b"100\n")
    assert result.peak_memory_bytes > 100 * MIB


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output(backend: Local, stream: str) -> None:
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 9999)"
    result = run(backend, code, limits(output_bytes=50_000))
    assert result.verdict is Verdict.OUTPUT_LIMIT
    assert len(getattr(result, stream)) == 50_000


def test_output_of_exactly_the_limit_is_kept(backend: Local) -> None:
    result = run(backend, "print('x' * 49_999)", limits(output_bytes=50_000))
    assert result.verdict is Verdict.ACCEPTED
    assert len(result.stdout) == 50_000


def test_threads(backend: Local) -> None:
    code = (
        "import threading, time\n"
        "for _ in range(200): threading.Thread(target=time.sleep, args=(1,), daemon=True).start()\n"
        "time.sleep(0.5)\nprint('all')"
    )
    result = run(backend, code, limits(processes=8))
    assert result.verdict is Verdict.RUNTIME_ERROR
    assert result.stdout == b""


def test_disk(backend: Local) -> None:
    code = (
        "import time\nfor n in range(100):\n"
        "    with open(f'{n}', 'wb') as f: f.write(bytes(1 << 20))\n    time.sleep(0.005)\n"
        "print('all')"
    )
    result = run(backend, code, limits(disk_bytes=8 * MIB))
    assert result.verdict is Verdict.RUNTIME_ERROR
    assert result.stdout == b""


def test_disk_that_deleted_files_still_hold(backend: Local) -> None:
    code = (
        "import os, time\nkept = []\nfor n in range(60):\n"
        "    f = open('x', 'wb'); os.unlink('x'); f.write(bytes(2 << 20)); f.flush()\n"
        "    kept.append(f); time.sleep(0.01)\nprint('all')"
    )
    result = run(backend, code, limits(disk_bytes=8 * MIB))
    assert result.verdict is Verdict.RUNTIME_ERROR
    assert result.stdout == b""


def test_one_file(backend: Local) -> None:
    result = run(backend, "open('x', 'wb').write(bytes(20 << 20))", limits(disk_bytes=8 * MIB))
    assert result.verdict is Verdict.RUNTIME_ERROR


def test_inodes(backend: Local) -> None:
    code = (
        "import time\nfor n in range(3000):\n    open(f'{n}', 'w').close()\n"
        "    if n % 50 == 0: time.sleep(0.005)\nprint('all')"
    )
    result = run(backend, code, limits(inodes=100))
    assert result.verdict is Verdict.RUNTIME_ERROR
    assert result.stdout == b""


def test_a_folder_too_deep_counts_as_too_many(backend: Local) -> None:
    code = (
        "import os, time\nfor n in range(3000):\n    os.mkdir('d'); os.chdir('d')\n"
        "    if n % 50 == 0: time.sleep(0.005)\nprint('all')"
    )
    result = run(backend, code, limits(inodes=100))
    assert result.verdict is Verdict.RUNTIME_ERROR
    follow = run(backend, "import os; print(os.listdir())")
    assert follow.stdout == b"[]\n"


@pytest.mark.parametrize(
    "trace",
    [
        "open('left', 'w').write('x')",
        "import os; os.makedirs('a/b/c'); os.symlink('/etc', 'a/link'); os.mkfifo('a/p')",
        "import os; os.mkdir('closed', 0); open('x', 'w').close(); os.umask(0)",
        "import os; [os.mkdir(f'd{n}') for n in range(50)]",
    ],
)
def test_a_run_finds_nothing_of_the_one_before(backend: Local, trace: str) -> None:
    try_it = f"try:\n    {trace}\nexcept OSError:\n    pass"
    assert run(backend, try_it).verdict is Verdict.ACCEPTED
    looks = "import os; s = os.stat('.'); print(os.listdir(), oct(s.st_mode), os.umask(0o077))"
    assert run(backend, looks).stdout == b"[] 0o40700 63\n"


def test_a_chain_of_folders_deeper_than_descriptors_is_removed(backend: Local) -> None:
    code = "import os\nfor n in range(1500):\n    os.mkdir('d'); os.chdir('d')"
    run(backend, code, limits(inodes=4000))
    assert run(backend, "import os; print(os.listdir())").stdout == b"[]\n"


def test_files_come_back_when_they_are_regular_and_inside(backend: Local) -> None:
    code = (
        "import os\nopen('good', 'w').write('yes')\nos.symlink('/etc/passwd', 'link')\n"
        "os.mkdir('folder')\nos.mkdir('sub'); open('sub/deep', 'w').write('also')\n"
        "os.symlink('sub', 'way')"
    )
    wanted = ["good", "link", "folder", "missing", "sub/deep", "way/deep"]
    result = run(backend, code, collect=wanted)
    assert result.files == {"good": b"yes", "sub/deep": b"also"}


def test_a_negative_limit_is_refused() -> None:
    for bad in (0, -1, float("inf"), float("nan"), True):
        with pytest.raises(ValueError, match="cpu_s is"):
            Limits(cpu_s=bad)
    with pytest.raises(ValueError, match=r"inodes is 1\.5; it must be a finite whole number"):
        Limits(inodes=1.5)  # type: ignore[arg-type]


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_says_where_it_may_start_no_program(backend: Local) -> None:
    program = backend.build("ls /usr || exit 3", language_named("bash"), {})
    result = backend.execute(program, limits=SHORT)
    if backend.pool.tier == "namespaces":
        assert b"bin" in result.stdout
    else:
        assert result.reason.endswith("; in this tier bash runs its built-ins only")
