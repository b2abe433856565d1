"""Programs that attack the sandbox, and the verdicts that are right for each.

An attack prints REACHED if it succeeds; that word must never appear. It reads its targets (a
process, ports, files) as JSON from stdin, see `attempts.Targets`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import Limits, Verdict

__all__ = ["ATTACKS", "FLAG", "Attack"]

FAILS = frozenset(Verdict) - {Verdict.ACCEPTED, Verdict.INTERNAL_ERROR}
HELD = frozenset(Verdict) - {Verdict.INTERNAL_ERROR}  # any verdict, as long as nothing was reached
WRONG = frozenset({Verdict.WRONG_ANSWER})
ERROR = frozenset({Verdict.RUNTIME_ERROR})
WRONG_OR_ERROR = WRONG | ERROR
LATE = frozenset({Verdict.TIME_LIMIT})
TOO_BIG = frozenset({Verdict.MEMORY_LIMIT})
FLOODS = frozenset({Verdict.OUTPUT_LIMIT})
KILLED = frozenset({Verdict.POLICY_VIOLATION})
UNBUILT = frozenset({Verdict.COMPILE_ERROR})
ONLY_N = frozenset({"namespaces"})

FLAG = f"FLAG<{secrets.token_hex(16)}>"  # the secret that attacks look for
SHORT = Limits(wall_s=2.0, cpu_s=2.0)
HANGS = Limits(wall_s=0.5, cpu_s=2.0)
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Judged where it has cases, else run with the targets on stdin."""

    name: str
    family: str
    code: str
    right: frozenset[Verdict] = HELD
    language: str = "python"
    cases: tuple[Mapping[str, Any], ...] = ()
    function: str | None = None
    compare: str | None = None
    limits: Limits = SHORT
    collect: tuple[str, ...] = ()
    before: str | None = None  # a program that runs in the same worker just before, given FLAG
    tiers: frozenset[str] = frozenset({"namespaces", "landlock"})
    stdin: bytes | None = None  # in place of the targets


def _call(value: Any, *args: Any) -> tuple[Mapping[str, Any], ...]:
    return ({"args": list(args), "output": value},)


def _text(output: str, given: str = "") -> tuple[Mapping[str, Any], ...]:
    return ({"input": given, "output": output},)


_ATTEMPT = '''
import ctypes, errno, json, os, re, resource, signal, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
aims = json.loads(sys.stdin.read() or "{}")
def attempt(name, action):
    """Report success unless the action fails or returns None, False, nothing or -1."""
    try:
        got = action()
    except (OSError, ValueError, subprocess.SubprocessError, UnicodeError):
        return
    if got is not None and got is not False and got != -1 and got != b"" and got != "":
        print("REACHED", name, repr(got)[:200], flush=True)
def read(path):
    with open(path, "rb") as file:
        return file.read(4096)
def done(action, *args, **named):
    action(*args, **named)
    return True
def call(number, *args):
    return libc.syscall(ctypes.c_long(number), *[
        ctypes.c_long(a) if isinstance(a, int) else a for a in args])
def other_pids():
    mine = os.getpid()
    return [p for p in {aims["pid"], aims["supervisor"], os.getppid(), 1} if p not in (0, mine)]
'''


def _attempts(body: str) -> str:
    return _ATTEMPT + body


def _frame(text: str, *, fd: str = "3") -> str:
    """Python that writes a whole result frame."""
    return (
        "import os, struct\n"
        f"def send(data, fd={fd}):\n"
        "    data = struct.pack('=I', len(data)) + data\n"
        "    while data:\n        data = data[os.write(fd, data):]\n"
        f"def f(*args):\n    send({text})\n    os._exit(0)\n"
    )


def _fork_and_wait(body: str) -> str:
    return f"import os, time\npid = os.fork()\nif pid == 0:\n    {body}\nprint(42, flush=True)\n"


_LIAR = """
class Liar({base}):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 7
    def __bool__(self): return True
    def __repr__(self): return '42'
    __str__ = __repr__
"""

FORGING = (
    Attack(
        name="exit_0_first",
        family="forging",
        code="import sys; sys.exit(0)\nprint(42)",
        cases=_text("42"),
        right=WRONG,
    ),
    Attack(
        name="exit_0_in_function",
        family="forging",
        code="import sys\ndef f(): sys.exit(0)",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="hard_exit_0_in_function",
        family="forging",
        code="import os\ndef f(): os._exit(0)",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="hard_exit_0_at_import",
        family="forging",
        code="import os; os._exit(0)",
        cases=_call(None),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="always_equal",
        family="forging",
        code=_LIAR.format(base="object") + "def f(): return Liar()",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="always_equal_int",
        family="forging",
        code=_LIAR.format(base="int") + "def f(): return Liar(41)",
        cases=_call(42),
        function="f",
        right=WRONG,
    ),
    Attack(
        name="always_equal_text",
        family="forging",
        code=_LIAR.format(base="str") + "def f(): return Liar('41')",
        cases=_call("42"),
        function="f",
        compare="equal",
        right=WRONG,
    ),
    Attack(
        name="always_equal_list",
        family="forging",
        code=_LIAR.format(base="list") + "def f(): return Liar([1])",
        cases=_call([42]),
        function="f",
        right=WRONG,
    ),
    Attack(
        name="class_liar",
        family="forging",
        code="class A:\n    __class__ = property(lambda self: int)\n"
        "    def __index__(self): return 42\n    def __eq__(self, o): return True\n"
        "def f(): return A()",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="reduce",
        family="forging",
        code="class A:\n    def __reduce__(self): return (print, ('REACHED',))\n"
        "def f(): return A()",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="patched_json",
        family="forging",
        code="import json\njson.dumps = lambda *a, **k: '{\"value\": true}'\ndef f(): return 1",
        cases=_call(42),
        function="f",
        right=WRONG,
    ),
    Attack(
        name="patched_everything",
        family="forging",
        code="import builtins, json, struct, os, sys\n"
        "builtins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 0\n"
        "struct.pack = lambda *a: b''\nos._exit = lambda s: None\n"
        "sys.exit = lambda *a: None\ndef f(): raise ValueError",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="patched_exit_lets_the_driver_return",
        family="forging",
        code="import os\nreal = os._exit\nos._exit = lambda s: None\nprint(42)\nraise ValueError",
        cases=_text("43"),
        right=WRONG_OR_ERROR,
    ),
    Attack(
        name="excepthook_exits_0",
        family="forging",
        code="import os, sys\nsys.excepthook = lambda *a: os._exit(0)\ndef f(): raise ValueError",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="atexit_exits_0",
        family="forging",
        code="import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(): 1 / 0",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="raises_where_nothing_is_expected",
        family="forging",
        code="raise ValueError",
        cases=_text(""),
        right=ERROR,
    ),
    Attack(
        name="raises_where_none_is_expected",
        family="forging",
        code="def f(): raise ValueError",
        cases=_call(None),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="prints_every_candidate",
        family="forging",
        code="print(*range(1000))",
        cases=_text("42"),
        right=WRONG,
    ),
    Attack(name="prefix", family="forging", code="print(1)", cases=_text("1\n2\n"), right=WRONG),
    Attack(
        name="suffix", family="forging", code="print(1); print(2)", cases=_text("1\n"), right=WRONG
    ),
    Attack(name="nothing_printed", family="forging", code="", cases=_text("0"), right=WRONG),
    Attack(
        name="killed_after_the_right_output",
        family="forging",
        code="import os\nprint(42, flush=True)\nos.kill(os.getpid(), 9)",
        cases=_text("42"),
        right=ERROR,
    ),
    Attack(
        name="killed_after_the_right_frame",
        family="forging",
        code=_frame("b'{\"value\": 42}'").replace("os._exit(0)", "os.kill(os.getpid(), 9)"),
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="frame_of_another_value",
        family="forging",
        code=_frame("b'{\"value\": true}'"),
        cases=_call(1),
        function="f",
        right=WRONG,
    ),
    Attack(
        name="verdicts_in_frames",
        family="forging",
        code=_frame('b\'{"verdict": "accepted", "passed": true, "value": 42}\''),
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="two_frames",
        family="forging",
        code=_frame("b'{\"value\": 42}'").replace("    os._exit(0)", "    return 42"),
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="every_candidate_in_frames",
        family="forging",
        code=_frame("b'{\"value\": 1}'").replace(
            "    os._exit(0)",
            "    for n in range(100): send(b'{\"value\": %d}' % n)\n    os._exit(0)",
        ),
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="part_of_a_frame",
        family="forging",
        code="import os\ndef f():\n    os.write(3, b'\\x0d\\0\\0\\0{\"value\"')\n    os._exit(0)",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="huge_length",
        family="forging",
        code="import os\ndef f():\n    os.write(3, b'\\xff' * 4 + b'{\"value\": 42}')\n"
        "    os._exit(0)",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="frames_on_every_descriptor",
        family="forging",
        code='import os, struct\nd = b\'{"value": true, "cause": 0, "num_phases": 2}\'\n'
        "for fd in range(256):\n"
        "    for text in (struct.pack('=I', len(d)) + d, b'\\x05' + bytes(43), b'sr'):\n"
        "        try: os.write(fd, text)\n        except OSError: pass\n"
        "def f(): return 42",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="closed_descriptors",
        family="forging",
        code="import os\ndef f():\n    os.closerange(0, 256)\n    return 42",
        cases=_call(42),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="result_in_a_file",
        family="forging",
        code="import os\nfor name in ('result', 'reward.txt', 'result.frame'):\n"
        "    open(name, 'w').write('1')\ndef f(): os._exit(0)",
        cases=_call(1),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="answers_other_cases_only",
        family="forging",
        code="def f(x):\n    if x: return 1\n    import os; os._exit(0)",
        cases=(*_call(1, 1), *_call(1, 0)),
        function="f",
        right=ERROR,
    ),
    Attack(
        name="stop_iteration_ends_the_tests",
        family="forging",
        code="def f(x): raise StopIteration",
        cases=({"program": "assert all(map(f, range(3)))", "functions": ["f"]},),
        right=WRONG_OR_ERROR,
    ),
    Attack(
        name="assertion_error_for_the_tests",
        family="forging",
        code="def f(x): raise AssertionError",
        cases=({"program": "assert f(1)", "functions": ["f"]},),
        right=WRONG_OR_ERROR,
    ),
    Attack(
        name="liar_for_the_tests",
        family="forging",
        code=_LIAR.format(base="object") + "def f(x): return Liar()",
        cases=({"program": "assert f(1) == 2", "functions": ["f"]},),
        right=WRONG_OR_ERROR,
    ),
    Attack(
        name="answers_in_advance_for_the_tests",
        family="forging",
        code="import os, json, struct\nd = json.dumps({'value': True}).encode()\n"
        "for fd in (3, 5):\n    os.write(fd, (struct.pack('=I', len(d)) + d) * 9)\n"
        "os._exit(0)",
        cases=({"program": "assert f(1) == 7", "functions": ["f"]},),
        right=WRONG_OR_ERROR,
    ),
)

_LOOK = """
import gc, os, re, sys
PATTERN = re.compile(rb"FLAG<[0-9a-f]{32}>")
found = set()
def look(data):
    if isinstance(data, str): data = data.encode("utf-8", "replace")
    if isinstance(data, (bytes, bytearray, memoryview)): found.update(PATTERN.findall(data))
def look_at_memory():
    try:
        maps, mem = open("/proc/self/maps").read(), open("/proc/self/mem", "rb", 0)
    except OSError:
        return
    for line in maps.splitlines():
        start, end = (int(x, 16) for x in line.split()[0].split("-"))
        if line.split()[1][0] != "r" or "[v" in line or end - start > 1 << 28: continue
        try:
            mem.seek(start)
            look(mem.read(end - start))
        except OSError:
            pass
def look_at_files(*roots):
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                try: fd = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NONBLOCK)
                except OSError: continue
                try: look(os.read(fd, 1 << 20))
                except OSError: pass
                os.close(fd)
def finish():
    print(found.pop().decode() if found else "nothing")
"""


def _finder(body: str) -> str:
    return _LOOK + body + "\nfinish()\n"


FINDING = (
    Attack(
        name="frames_and_gc",
        family="finding",
        cases=_text(FLAG),
        right=WRONG,
        code=_finder(
            "frame = sys._getframe()\nwhile frame:\n    for v in list(frame.f_locals.values()) +"
            " list(frame.f_globals.values()): look(repr(v)[:100000])\n    frame = frame.f_back\n"
            "for o in gc.get_objects(): look(repr(o)[:2000])"
        ),
    ),
    Attack(
        name="frames_from_a_function",
        family="finding",
        function="f",
        cases=_call(FLAG),
        right=WRONG,
        code=_LOOK + "def f():\n    frame = sys._getframe()\n    while frame:\n"
        "        look(repr(frame.f_locals)); frame = frame.f_back\n"
        "    return found.pop().decode() if found else 'nothing'",
    ),
    Attack(
        name="own_memory",
        family="finding",
        cases=_text(FLAG),
        right=WRONG,
        code=_finder("look_at_memory()"),
    ),
    Attack(
        name="own_memory_in_a_function",
        family="finding",
        function="f",
        cases=_call(FLAG),
        right=WRONG,
        code=_LOOK + "def f():\n    look_at_memory()\n"
        "    return found.pop().decode() if found else 'nothing'",
    ),
    Attack(
        name="arguments_environment_descriptors",
        family="finding",
        cases=_text(FLAG),
        right=WRONG,
        code=_finder(
            "look(repr(sys.argv) + repr(sys.orig_argv) + repr(os.environ))\n"
            "for fd in range(256):\n    try: look(os.pread(fd, 1 << 20, 0))\n"
            "    except OSError: pass"
        ),
    ),
    Attack(
        name="files",
        family="finding",
        cases=_text(FLAG),
        right=WRONG,
        limits=SHORT,
        code=_finder(
            "look_at_files('.', '/tmp', '/dev/shm', '/var', '/root/.ssh', '/home',"
            " '/etc', '/proc/self', '/proc/1')"
        ),
    ),
    Attack(
        name="memory_of_the_job_before",
        family="finding",
        cases=_text(FLAG),
        right=WRONG,
        before="import sys\nkept = [sys.stdin.read() * 1000]\nprint(kept[0][:40])",
        code=_finder("look_at_memory()\nlook_at_files('.', '/tmp', '/dev/shm')"),
    ),
    Attack(
        name="files_of_the_job_before",
        family="finding",
        cases=_text(FLAG),
        right=WRONG,
        before="import os, sys\nflag = sys.stdin.read()\n"
        "for path in ('x', '/tmp/x', '/dev/shm/x', '/var/tmp/x', '.hidden', '../x'):\n"
        "    try: open(path, 'w').write(flag)\n    except OSError: pass\n"
        "for name in (flag, 'link'):\n    try: os.symlink(flag, name)\n"
        "    except OSError: pass\n"
        "try: os.setxattr('.', 'user.flag', flag.encode())\nexcept OSError: pass",
        code=_finder(
            "look_at_files('.', '/tmp', '/dev/shm', '/var/tmp')\n"
            "look(repr(os.listdir('.')))\ntry: look(os.getxattr('.', 'user.flag'))\n"
            "except OSError: pass"
        ),
    ),
    Attack(
        name="fresh_memory_is_empty",
        family="finding",
        cases=_text(FLAG),
        right=WRONG,
        before="import sys\nblob = sys.stdin.read().encode() * 200000",
        code=_finder(
            "import ctypes\nfor i in range(50):\n"
            "    size = 1 << 20\n    libc = ctypes.CDLL(None)\n"
            "    libc.malloc.restype = ctypes.c_void_p\n"
            "    look(ctypes.string_at(libc.malloc(size), size))"
        ),
    ),
)

LEAKS = (
    Attack(
        name="environment",
        family="leaks",
        code=_attempts("""
for pid in ["self", *other_pids()]:
    attempt("environ", lambda: b"CANARY" in read(f"/proc/{pid}/environ"))
attempt("own environ", lambda: "CANARY" in repr(os.environ))
"""),
    ),
    Attack(
        name="processes",
        family="leaks",
        code=_attempts("""
mine = os.getpid()
for pid in other_pids():
    for name in ("environ", "mem", "maps", "cmdline", "stat", "fd/0", "cwd/x", "root/etc/shadow"):
        if pid != 1 or name != "stat":
            attempt(f"{pid} {name}", lambda: read(f"/proc/{pid}/{name}"))
    for name in ("cwd", "exe", "root"):
        attempt(f"{pid} {name}", lambda: os.readlink(f"/proc/{pid}/{name}"))
    attempt(f"write {pid} mem", lambda: done(open, f"/proc/{pid}/mem", "r+b"))
"""),
    ),
    Attack(
        name="files_of_the_machine",
        family="leaks",
        code=_attempts("""
for path in ("/etc/shadow", "/etc/hostname", "/etc/machine-id", "/etc/ssh/sshd_config",
             "/root/.ssh/id_rsa", "/root/.bashrc", os.path.expanduser("~/.netrc"), "/etc/hosts",
             "/var/log/dpkg.log", "/boot/vmlinuz", "/sys/kernel/notes", "/proc/kcore", "/dev/mem",
             "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/tty", "/dev/ptmx", "/dev/kvm", "/dev/fuse",
             "/proc/sys/kernel/core_pattern", "/proc/cmdline", "/run/docker.sock", aims["file"]):
    attempt(path, lambda: read(path))
attempt("passwd", lambda: b"root" in read("/etc/passwd"))
for path in ("/root", "/home", "/var", "/work", "/mnt", "/sys", "/etc", aims["folder"]):
    attempt(path, lambda: [n for n in os.listdir(path)
                           if n not in ("alternatives", "ld.so.cache", "passwd", "group",
                                        ".pyenv")] or "")
"""),
    ),
    Attack(
        name="writing_outside",
        family="leaks",
        code=_attempts("""
for path in (aims["file"], aims["folder"] + "/new", "/usr/new", "/etc/new", "/new", "/dev/new",
             "/var/tmp/new", "/dev/shm/../new", sys.base_prefix + "/new", json.__file__):
    attempt(path, lambda: done(open, path, "ab"))
for action in (os.unlink, os.rmdir, os.mkdir, lambda p: os.chmod(p, 0),
               lambda p: os.utime(p, (0, 0)), lambda p: os.truncate(p, 0),
               lambda p: os.setxattr(p, "user.x", b"x"),
               lambda p: os.rename(p, p + "2"), lambda p: os.link(p, "link"),
               lambda p: os.chown(p, os.getuid(), os.getgid()), lambda p: os.mkfifo(p + "3")):
    attempt("change", lambda: done(action, aims["file"]))
    attempt("change folder", lambda: done(action, aims["folder"]))
"""),
    ),
)

HURTING = (
    Attack(
        name="signals",
        family="hurting",
        code=_attempts("""
for pid in other_pids():
    for number in (0, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if pid != 1 or number == signal.SIGINT:
            attempt(f"kill {pid} {number}", lambda: done(os.kill, pid, number))
    attempt("killpg", lambda: done(os.killpg, pid, signal.SIGKILL))
    attempt("tgkill", lambda: call(234, pid, pid, 9) == 0)
    attempt("tkill", lambda: call(200, pid, 9) == 0 and pid != 1)
    attempt("sigqueue", lambda: call(129, pid, 9, bytes(128)) == 0 and pid != 1)
    attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 9) or pid != 1)
"""),
    ),
    Attack(
        name="kill_everyone",
        family="hurting",
        code=_attempts("""
for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
    try: os.kill(-1, number)
    except OSError: pass
"""),
    ),
    Attack(
        name="limits_of_others",
        family="hurting",
        code=_attempts("""
for pid in other_pids():
    attempt("prlimit", lambda: done(resource.prlimit, pid, resource.RLIMIT_NOFILE, (3, 3)))
    attempt("read prlimit", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE))
    attempt("renice", lambda: done(os.setpriority, os.PRIO_PROCESS, pid, 19))
    attempt("affinity", lambda: done(os.sched_setaffinity, pid, {0}))
    attempt("scheduler", lambda: done(os.sched_setscheduler, pid, 5, os.sched_param(0)))
    attempt("ioprio", lambda: call(251, 1, pid, 3 << 13) == 0)
    attempt("oom", lambda: done(open, f"/proc/{pid}/oom_score_adj", "w"))
attempt("renice user", lambda: done(os.setpriority, os.PRIO_USER, 0, 19))
"""),
    ),
    Attack(
        name="signals_by_descriptors",
        family="hurting",
        code=_attempts("""
import fcntl
a, b = socket.socketpair()
for pid in other_pids():
    for fd in (0, 1, 2, 3, a.fileno()):
        attempt("F_SETOWN", lambda: done(fcntl.fcntl, fd, fcntl.F_SETOWN, pid))
        attempt("F_SETOWN_EX", lambda: done(fcntl.fcntl, fd, 15, bytes(8)))
        attempt("F_SETSIG", lambda: done(fcntl.fcntl, fd, fcntl.F_SETSIG, 9))
        attempt("FIOSETOWN", lambda: done(fcntl.ioctl, fd, 0x8901, pid.to_bytes(4, "little")))
attempt("F_NOTIFY", lambda: done(fcntl.fcntl, os.open("/usr", 0), fcntl.F_NOTIFY, 1))
"""),
    ),
    Attack(
        name="ptrace",
        family="hurting",
        right=KILLED,
        code=_attempts('call(101, 16, aims["pid"], 0, 0); print("REACHED")'),
    ),
    Attack(
        name="process_vm_readv",
        family="hurting",
        right=KILLED,
        code=_attempts('call(310, os.getppid(), 0, 0, 0, 0, 0); print("REACHED")'),
    ),
    Attack(
        name="process_vm_writev",
        family="hurting",
        right=KILLED,
        code=_attempts('call(311, aims["pid"], 0, 0, 0, 0, 0); print("REACHED")'),
    ),
    Attack(
        name="pidfd_getfd",
        family="hurting",
        right=KILLED,
        code=_attempts('call(438, 3, 0, 0); print("REACHED")'),
    ),
    Attack(
        name="many_pids",
        family="hurting",
        tiers=ONLY_N,
        right=HELD,
        code="""
import os
for _ in range(3000):
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
""",
    ),
    Attack(
        name="parent_death_signal",
        family="hurting",
        code=_attempts("""
attempt("PDEATHSIG", lambda: call(157, 1, 9, 0, 0, 0) == 0)
attempt("DUMPABLE", lambda: call(157, 4, 0, 0, 0, 0) == 0)
attempt("SUBREAPER", lambda: call(157, 36, 1, 0, 0, 0) == 0)
attempt("SECCOMP", lambda: call(157, 22, 1, 0, 0, 0) == 0)
attempt("PTRACER", lambda: call(157, 0x59616D61, -1, 0, 0, 0) == 0)
attempt("SET_MM", lambda: call(157, 35, 1, 0, 0, 0) == 0)
"""),
    ),
)

NETWORK = (
    Attack(
        name="tcp",
        family="network",
        code=_attempts("""
attempt("tcp", lambda: done(socket.create_connection, ("127.0.0.1", aims["tcp"]), 0.2))
attempt("tcp6", lambda: done(socket.create_connection, ("::1", aims["tcp"]), 0.2))
attempt("metadata", lambda: done(socket.create_connection, ("169.254.169.254", 80), 0.2))
attempt("listen", lambda: done(socket.create_server, ("127.0.0.1", 0)))
attempt("raw", lambda: done(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1))
"""),
    ),
    Attack(
        name="udp_and_names",
        family="network",
        code=_attempts("""
for family in (socket.AF_INET, socket.AF_INET6):
    attempt("udp", lambda: done(
        socket.socket(family, socket.SOCK_DGRAM).sendto, b"out", ("127.0.0.1", aims["udp"])))
attempt("dns", lambda: socket.gethostbyname("example.com"))
for family in (16, 17, 38, 40, 31, 44):  # netlink, packet, alg, vsock, bluetooth, xdp
    for kind in (1, 2, 3, 5):
        attempt(f"family {family}", lambda: done(socket.socket, family, kind, 0))
"""),
    ),
    Attack(
        name="unix_sockets",
        family="network",
        code=_attempts("""
def send(kind, address):
    def action():
        s = socket.socket(socket.AF_UNIX, kind)
        s.connect(address)
        s.send(b"out")
        return True
    return action
for address in (aims["unix"], "\\0" + aims["abstract"], aims["datagram"]):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        attempt("unix", send(kind, address))
"""),
    ),
    Attack(
        name="unix_sockets_by_pairs",
        family="network",
        code=_attempts("""
for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
    for address in (aims["datagram"], "\\0" + aims["abstract_datagram"]):
        def pair(): return socket.socketpair(socket.AF_UNIX, kind)[0]
        for act in (lambda: pair().sendto(b"out", address),
                    lambda: pair().sendmsg([b"out"], [], 0, address),
                    lambda: done(pair().connect, address),
                    lambda: done(pair().bind, aims["folder"] + "/bound")):
            try: act()
            except OSError: pass
"""),
    ),
)

LINKS = (
    Attack(
        name="collected_links",
        family="links",
        collect=("a", "b", "c", "d/e", "f"),
        code=_attempts("""
os.symlink("/etc/shadow", "a"); os.symlink(aims["file"], "b"); os.symlink("/proc/self/environ", "c")
os.symlink(aims["folder"], "d"); os.symlink(".", "e"); os.symlink("/dev/zero", "f")
"""),
    ),
    Attack(
        name="collected_oddities",
        family="links",
        collect=("fifo", "folder", "closed", "full"),
        code=_attempts("""
try: os.mkfifo("fifo")
except OSError: pass
os.mkdir("folder", 0); os.close(os.open("closed", os.O_CREAT, 0)); os.symlink("full", "full")
"""),
    ),
    Attack(
        name="collected_huge",
        family="links",
        collect=("huge", "sparse"),
        limits=Limits(wall_s=2, cpu_s=2, disk_bytes=4 * _MIB),
        code="f = open('sparse', 'wb'); f.truncate(4 << 20)\n"
        "g = open('huge', 'wb')\ng.truncate(1 << 40)",
    ),
    Attack(
        name="hard_links",
        family="links",
        code=_attempts("""
attempt("link", lambda: done(os.link, aims["file"], "out"))
attempt("link by descriptor", lambda: done(os.link, "/proc/self/exe", "exe", follow_symlinks=True))
attempt("rename", lambda: done(os.rename, aims["file"], "out"))
"""),
    ),
    Attack(
        name="undeletable",
        family="links",
        code="""
import os
for mode in (0o000, 0o100, 0o200, 0o300, 0o400, 0o500, 0o600, 0o700):
    name = oct(mode)
    os.mkdir(name)
    open(name + "/x", "w").close()
    os.mkdir(name + "/y", 0)
    os.mkdir(name + "z", mode)
    try: os.chmod(name, mode)
    except OSError: pass
    try: open(name + "z/x", "w").close()
    except OSError: pass
for mode in (0o500, 0):
    try: os.chmod(".", mode)
    except OSError: pass
""",
    ),
    Attack(
        name="deep_folders",
        family="links",
        limits=Limits(wall_s=5, cpu_s=5),  # of which clearing up takes a part on a slow disk
        code="""
import os
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
open("x", "w").close()
""",
    ),
    Attack(
        name="odd_names",
        family="links",
        collect=("new\nline", "\udcff\udcfe"),
        code="""
import os
for name in (b"new\\nline", b"\\xff\\xfe", b"-rf", b"a b", b"*", b"\\x1b[31m", b"n" * 255, b"..."):
    open(name, "w").close()
    os.mkdir(name + b"d" if len(name) < 255 else b"d" * 255)
""",
    ),
    Attack(
        name="extended_attributes",
        family="links",
        code="""
import os
try:
    for i in range(100000): os.setxattr(".", f"user.{i}", b"x" * 1000)
except OSError: pass
""",
    ),
)


def _calls(*numbers: int) -> str:
    """Each must fail or kill; in children where there may be any."""
    body = "for number in {}:\n    attempt(number, lambda: call(number, 0, 0, 0, 0, 0, 0) != -1)\n"
    return _attempts(body.format(numbers))


_C_START = (
    "#define _GNU_SOURCE\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
    "#include <unistd.h>\n#include <sys/syscall.h>\n#include <sys/mman.h>\n#include <signal.h>\n"
)

_DEADLY_CALLS = {
    "mount": "165, b'none', b'/tmp', b'tmpfs', 0, 0",
    "umount": "166, b'/proc', 2",
    "unshare_user": "272, 0x10000000",
    "unshare_files": "272, 0x400",
    "setns": "308, 0, 0x10000000",
    "chroot": "161, b'.'",
    "keyctl": "250, 0, -3, 0",
    "add_key": "248, b'user', b'x', b'y', 1, -3",
    "bpf": "321, 0, bytes(128), 128",
    "open_by_handle_at": "304, -100, bytes(16), 0",
    "new_user_by_clone": "56, 0x10000000 | 17, 0, 0, 0, 0",
    "new_pids_by_clone": "56, 0x20000000 | 17, 0, 0, 0, 0",
    "new_time_by_clone": "56, 0x80 | 17, 0, 0, 0, 0",
    "seccomp": "317, 0, 0, 0",
    "x32": "0x40000000 | 39",
    "move_mount": "429, 0, 0, 0, 0, 0",
    "mount_setattr": "442, -100, b'/', 0, bytes(32), 32",
    "init_module": "175, 0, 0, b''",
    "reboot": "169, 0xfee1dead, 0x28121969, 0, 0",
}

SYSTEM_CALLS = (
    *(
        Attack(
            name=name,
            family="system calls",
            right=KILLED,
            code=_attempts(f"call({arguments}); print('REACHED')"),
        )
        for name, arguments in _DEADLY_CALLS.items()
    ),
    Attack(
        name="refused_calls",
        family="system calls",
        code=_attempts("""
attempt("perf", lambda: call(298, bytes(128), 0, -1, -1, 0))
attempt("io_uring", lambda: call(425, 8, bytes(120)))
attempt("userfaultfd", lambda: call(323, 0))
attempt("memfd", lambda: os.memfd_create("x"))
attempt("memfd_secret", lambda: call(447, 0))
attempt("clone3", lambda: call(435, (0x10000000).to_bytes(8, "little") + bytes(80), 88))
attempt("personality", lambda: call(135, 0x0040000))
attempt("inotify", lambda: call(294, 0))
attempt("fanotify", lambda: call(300, 0, 0))
attempt("name_to_handle", lambda: call(303, -100, b"/", bytes(256), bytes(8), 0) == 0)
attempt("setuid", lambda: done(os.setuid, 0))
attempt("setgroups", lambda: done(os.setgroups, [0]))
attempt("mlockall", lambda: call(151, 1) == 0)
attempt("syslog", lambda: call(103, 10, 0, 0))
attempt("mknod", lambda: done(os.mknod, "null", 0o20666, os.makedev(1, 3)))
attempt("new calls", lambda: [n for n in range(424, 480) if n not in
    (424, 428, 429, 430, 431, 432, 433, 434, 435, 436, 437, 438, 439, 440, 441, 442, 443, 444, 445,
     446, 448, 449) and call(n, 0, 0, 0, 0, 0, 0) != -1] or "")
"""),
    ),
    Attack(
        name="terminal_input",
        family="system calls",
        code=_attempts("""
import fcntl
for fd in range(4):
    for request in (0x5412, 0x540E, 0x541C, 0x8912, 0x8933, 0x6611):  # TIOCSTI, SCTTY, LINUX, ...
        attempt(hex(request), lambda: done(fcntl.ioctl, fd, request, bytes(64)))
"""),
    ),
    Attack(
        name="32_bit_calls",
        family="system calls",
        language="c",
        right=KILLED,
        code=_C_START + 'int main(void) { long r; __asm__ volatile("int $0x80" : "=a"(r)'
        ' : "a"(20L) : "memory"); puts("REACHED"); return 0; }',
    ),
    Attack(
        name="deadly_calls_in_c",
        family="system calls",
        language="c",
        right=KILLED,
        code=_C_START + "int main(void) { syscall(SYS_ptrace, 0, 0, 0, 0);"
        ' puts("REACHED"); return 0; }',
    ),
    Attack(
        name="sibling_of_the_job",
        family="system calls",
        tiers=ONLY_N,
        code=_attempts("""
pid = call(56, 0x8000 | 17, 0, 0, 0, 0)  # CLONE_PARENT
if pid == 0:
    while True: time.sleep(60)
"""),
    ),
    Attack(
        name="set_uid_programs",
        family="system calls",
        code=_attempts("""
for path in ("/usr/bin/su", "/usr/bin/sudo", "/usr/bin/mount", "/usr/bin/passwd"):
    attempt(path, lambda: b"root" in subprocess.run(
        [path, "-c", "id"], capture_output=True, timeout=1, stdin=subprocess.DEVNULL).stdout)
attempt("own", lambda: done(os.chmod, "x", 0o4755))
"""),
    ),
)

IPC = (
    Attack(
        name="system_v",
        family="ipc",
        code=_attempts("""
attempt("shmget", lambda: call(29, aims["key"], 4096, 0o1666))
attempt("shmget old", lambda: call(29, aims["key"], 1, 0))
attempt("msgget", lambda: call(68, aims["key"], 0o1666))
attempt("semget", lambda: call(64, aims["key"], 1, 0o1666))
"""),
    ),
    Attack(
        name="posix",
        family="ipc",
        code=_attempts("""
attempt("mq_open", lambda: call(240, b"canary", 0o102, 0o666, 0))
attempt("shm", lambda: os.path.realpath("/dev/shm") == "/dev/shm" and
        done(open, "/dev/shm/canary", "w"))
"""),
    ),
)

_TOUCH = "for i in range(0, len(b), 4096): b[i] = 1\n"
_SMALL = Limits(wall_s=2.0, cpu_s=2.0, memory_bytes=128 * _MIB)
_MMAP = """
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
SIZE = 64 << 20
def filled(flags, fd=-1):
    p = libc.mmap(None, SIZE, 3, flags, fd, 0)
    if p == ctypes.c_void_p(-1).value: raise SystemExit("refused")
    libc.memset(p, 1, SIZE)
    return p
"""

BOMBS = (
    Attack(
        name="fork_bomb",
        family="bombs",
        limits=HANGS,
        code="""
import os
while True:
    try: os.fork()
    except OSError: pass
""",
    ),
    Attack(
        name="fork_bomb_in_c",
        family="bombs",
        language="c",
        limits=HANGS,
        code=_C_START + "int main(void) { for (;;) fork(); }",
    ),
    Attack(
        name="thread_bomb",
        family="bombs",
        limits=SHORT,
        right=FAILS,
        code="""
import threading, time
while True:
    threading.Thread(target=time.sleep, args=(60,)).start()
""",
    ),
    Attack(
        name="bytes",
        family="bombs",
        limits=_SMALL,
        right=TOO_BIG,
        code="""
keep = []
while True: keep.append(b"x" * (16 << 20))
""",
    ),
    Attack(
        name="private_pages",
        family="bombs",
        limits=_SMALL,
        right=FAILS,
        code=_MMAP + "for _ in range(4): filled(0x22)\nprint('REACHED')",
    ),
    Attack(
        name="shared_pages",
        family="bombs",
        limits=_SMALL,
        right=FAILS,
        code=_MMAP + "for _ in range(4): filled(0x21)\ntime.sleep(0.3)\nprint('REACHED')",
    ),
    Attack(
        name="shared_pages_let_go",
        family="bombs",
        limits=_SMALL,
        right=FAILS,
        code=_MMAP + "for _ in range(6): libc.munmap(filled(0x21) + 4096, SIZE - 4096, 0)\n"
        "print('REACHED')",
    ),
    Attack(
        name="shared_pages_not_needed",
        family="bombs",
        limits=_SMALL,
        right=FAILS,
        code=_MMAP + "for _ in range(6): libc.madvise(filled(0x21), SIZE, 4)\nprint('REACHED')",
    ),
    Attack(
        name="shared_zeros",
        family="bombs",
        limits=_SMALL,
        right=FAILS,
        code=_MMAP + "fd = os.open('/dev/zero', 2)\n"
        "for _ in range(6): libc.munmap(filled(1, fd) + 4096, SIZE - 4096, 0)\n"
        "print('REACHED')",
    ),
    Attack(
        name="eight_children",
        family="bombs",
        limits=_SMALL,
        tiers=ONLY_N,
        right=TOO_BIG,
        code=f"""
import os, time
for _ in range(8):
    if os.fork() == 0:
        b = bytearray(40 << 20)
        {_TOUCH.strip().replace(chr(10), "; ")}
        time.sleep(1); os._exit(0)
for _ in range(8): os.wait()
""",
    ),
    Attack(
        name="children_without_a_first_thread",
        family="bombs",
        limits=_SMALL,
        tiers=ONLY_N,
        right=FAILS,
        code=f"""
import ctypes, os, threading, time
def fill():
    time.sleep(0.1)
    b = bytearray(60 << 20)
    {_TOUCH.strip()}
    time.sleep(0.5); os._exit(0)
for _ in range(4):
    if os.fork() == 0:
        threading.Thread(target=fill).start()
        ctypes.CDLL(None).syscall(60, 0)
for _ in range(4): os.wait()
print("REACHED")
""",
    ),
    Attack(
        name="memory_files",
        family="bombs",
        limits=_SMALL,
        code=_attempts("""
attempt("memfd", lambda: os.memfd_create("x"))
attempt("shmget", lambda: call(29, 0, 1 << 28, 0o1600))
"""),
    ),
    Attack(
        name="unwaited_children",
        family="bombs",
        tiers=ONLY_N,
        right=LATE,
        limits=Limits(wall_s=2.0, cpu_s=0.5),
        code="""
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(6):
    if os.fork() == 0:
        while time.process_time() < 0.3: pass
        os._exit(0)
    try: os.wait()
    except ChildProcessError: pass
""",
    ),
    Attack(
        name="one_big_file",
        family="bombs",
        right=ERROR,
        code="""
with open("x", "wb") as f:
    while True: f.write(b"x" * (1 << 20))
""",
    ),
    Attack(
        name="many_files",
        family="bombs",
        right=ERROR,
        limits=Limits(wall_s=2, cpu_s=2, inodes=200),
        code="""
for i in range(100000): open(str(i), "w").close()
""",
    ),
    Attack(
        name="big_files",
        family="bombs",
        right=ERROR,
        code="""
for i in range(20):
    with open(str(i), "wb") as f: f.write(b"x" * (16 << 20))
import time; time.sleep(0.2)
""",
    ),
    Attack(
        name="deleted_files",
        family="bombs",
        right=ERROR,
        code="""
import os, time
keep = []
for i in range(10):
    keep.append(open("x", "wb", 0)); os.unlink("x"); keep[-1].write(b"x" * (16 << 20))
time.sleep(0.2)
""",
    ),
    Attack(
        name="deleted_and_mapped_files",
        family="bombs",
        right=ERROR,
        code=_MMAP
        + """
for i in range(10):
    fd = os.open("x", os.O_RDWR | os.O_CREAT | os.O_TRUNC); os.unlink("x")
    os.write(fd, b"x" * (16 << 20))
    libc.mmap(None, 4096, 1, 1, fd, 0)
    os.close(fd)
time.sleep(0.3)
print("REACHED")
""",
    ),
    Attack(
        name="deleted_files_of_a_second_thread",
        family="bombs",
        right=ERROR | frozenset({Verdict.ACCEPTED}),
        code="""
import ctypes, os, threading, time
def fill():
    time.sleep(0.1)
    keep = []
    for i in range(10):
        keep.append(open("x", "wb", 0)); os.unlink("x"); keep[-1].write(b"x" * (16 << 20))
    time.sleep(0.3)
    os.write(1, b"REACHED"); os._exit(0)
threading.Thread(target=fill).start()
ctypes.CDLL(None).syscall(60, 0)
""",
    ),
    Attack(
        name="deleted_files_in_flight",
        family="bombs",
        right=ERROR,
        code="""
import os, socket, time
a, b = socket.socketpair()
for i in range(10):
    fd = os.open("x", os.O_RDWR | os.O_CREAT | os.O_TRUNC); os.unlink("x")
    os.write(fd, b"x" * (16 << 20))
    socket.send_fds(a, [b"x"], [fd]); os.close(fd)
time.sleep(0.3)
print("REACHED")
""",
    ),
    Attack(
        name="reserved_disk",
        family="bombs",
        right=ERROR,
        code="""
import os, time
for i in range(20):
    fd = os.open(str(i), os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, 16 << 20)
time.sleep(0.3)
print("REACHED")
""",
    ),
    *(
        Attack(
            name=f"flood_of_descriptor_{fd}",
            family="bombs",
            right=FLOODS,
            code=f"""
import os
while True: os.write({fd}, b"x" * (1 << 20))
""",
        )
        for fd in (1, 2, 3)
    ),
    Attack(
        name="flood_by_children",
        family="bombs",
        tiers=ONLY_N,
        right=FLOODS,
        code="""
import os
for _ in range(4): os.fork()
os.setsid() if os.getpid() != os.getsid(0) else None
while True: os.write(1, b"x" * (1 << 16))
""",
    ),
)

HANGING = (
    Attack(
        name="busy_loop_ignoring_signals",
        family="hanging",
        right=LATE,
        limits=HANGS,
        code="""
import signal
for n in range(1, 65):
    try: signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
""",
    ),
    Attack(
        name="sleep", family="hanging", right=LATE, limits=HANGS, code="import time\ntime.sleep(60)"
    ),
    Attack(
        name="catches_everything",
        family="hanging",
        right=LATE,
        limits=HANGS,
        code="""
while True:
    try:
        while True: pass
    except BaseException: pass
""",
    ),
    Attack(
        name="atexit_hang",
        family="hanging",
        right=LATE,
        limits=HANGS,
        code="import atexit, time\natexit.register(time.sleep, 60)\nprint(42)",
        cases=_text("42"),
    ),
    Attack(
        name="thread_that_stays",
        family="hanging",
        right=LATE,
        limits=HANGS,
        code="import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print(42)",
        cases=_text("42"),
    ),
    Attack(
        name="stops_itself",
        family="hanging",
        right=LATE,
        limits=HANGS,
        code="import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    ),
    Attack(
        name="closes_its_streams_and_sleeps",
        family="hanging",
        right=LATE,
        limits=HANGS,
        code="import os, time\nos.closerange(0, 200)\ntime.sleep(60)",
    ),
    Attack(
        name="never_reads_huge_input",
        family="hanging",
        right=LATE,
        limits=HANGS,
        stdin=b"x" * (32 << 20),
        code="import time\ntime.sleep(60)",
    ),
    Attack(
        name="daemon_with_our_streams",
        family="hanging",
        tiers=ONLY_N,
        right=frozenset({Verdict.ACCEPTED}),
        code=_fork_and_wait("os.setsid(); os.fork(); time.sleep(60); os._exit(0)"),
    ),
    Attack(
        name="daemon_without_streams",
        family="hanging",
        tiers=ONLY_N,
        right=frozenset({Verdict.ACCEPTED}),
        code=_fork_and_wait("os.setsid(); os.closerange(0, 200); os.fork(); time.sleep(60)"),
    ),
    Attack(
        name="stream_in_flight",
        family="hanging",
        right=frozenset({Verdict.ACCEPTED}) | ERROR,
        code="""
import socket, sys
a, b = socket.socketpair()
socket.send_fds(a, [b"x"], [1, a.fileno(), b.fileno()])
socket.send_fds(b, [b"x"], [1, a.fileno(), b.fileno()])
print(42)
""",
    ),
    Attack(
        name="stopped_children",
        family="hanging",
        tiers=ONLY_N,
        right=frozenset({Verdict.ACCEPTED}),
        code=_fork_and_wait("os.kill(os.getpid(), 19)"),
    ),
)


def _hostile(name: str, value: str, expected: Any = 1, **options: Any) -> Attack:
    """A frame whose value is the given Python expression of bytes."""
    code = _frame(f"b'{{\"value\": ' + {value} + b'}}'")
    options = {"right": WRONG_OR_ERROR, **options}
    return Attack(
        name=name, family="comparer", code=code, cases=_call(expected), function="f", **options
    )


def _printed(name: str, code: str, expected: str, compare: str, **options: Any) -> Attack:
    return Attack(
        name=name,
        family="comparer",
        code=code,
        cases=_text(expected),
        compare=compare,
        **{"right": WRONG_OR_ERROR, **options},
    )


COMPARER = (
    _hostile("300_thousand_digits", "b'9' * 300000"),
    _hostile("float_of_many_digits", "b'{\"float\": 1' + b'0' * 400 + b'}'", 1.0),
    _hostile(
        "float_of_many_digits_by_value",
        "b'{\"float\": 1' + b'0' * 400 + b'}'",
        1.0,
        compare="floats",
    ),
    _hostile("huge_exponent", "b'1e999999999'", 1.0, compare="floats"),
    _hostile("complex_of_many_digits", "b'{\"complex\": [1' + b'0' * 400 + b', 0]}'", 1.0),
    _hostile("not_a_number", 'b\'{"float": "nan"}\'', 1.0, compare="floats"),
    _hostile("infinity", 'b\'{"float": "inf"}\'', 1.0, compare="floats"),
    _hostile("bare_nan", "b'NaN'", 1.0, compare="floats"),
    _hostile("deep_lists", "b'[' * 100000 + b']' * 100000"),
    *(
        _hostile(
            f"lists_{depth}_deep_as_{compare}",
            f"b'[' * {depth} + b']' * {depth}",
            [1],
            compare=compare,
        )
        for depth in (150, 480, 950, 990)
        for compare in ("json", "multiset")
    ),
    _hostile("nested_sets", "b'{\"frozenset\": [' * 26 + b']}' * 26"),
    _hostile("nested_sets_in_keys", "b'{\"dict\": [[' * 26 + b'1' + b', 1]]}' * 26"),
    _hostile("unequal_kinds_in_a_set", 'b\'{"set": [1, "a", null, {"tuple": [1]}, {}]}\''),
    _hostile("same_keys", 'b\'{"dict": [[1, 1], [1, "a"], [1, []]]}\''),
    _hostile(
        "colliding_numbers",
        "b'{\"set\": [' + b','.join(b'%d' % (i * (2**61 - 1)) for i in range(50000)) + b']}'",
    ),
    _hostile("many_lists", "b'[' + b','.join([b'[]'] * 200000) + b']'"),
    _hostile("huge_hexadecimal", "b'{\"int\": \"0x' + b'f' * 4000000 + b'\"}'", compare="equal"),
    _hostile(
        "huge_number_in_a_multiset",
        "b'[{\"int\": \"0x' + b'f' * 50000 + b'\"}]'",
        [1],
        compare="multiset",
    ),
    _hostile("kinds_that_do_not_exist", 'b\'{"eval": "1"}\''),
    _hostile("wrong_content", "b'{\"tuple\": 5}'", (5,)),
    _hostile("wrong_bytes", "b'{\"bytes\": 5}'", b"5"),
    _hostile("invalid_utf_8", "b'\"\\xff\"'", "x"),
    _hostile("lone_surrogate", "b'\"\\\\ud800\"'", "x"),
    _hostile("true_is_not_1", "b'true'"),
    _hostile("float_is_not_int", "b'1.0'"),
    _hostile("list_is_no_tuple", "b'[1]'", (1,)),
    _printed("digits_300_thousand", "print('9' * 300000)", "9", "floats"),
    _printed("exponent", "print('1e999999999')", "1", "floats"),
    _printed("nan", "print('nan')", "1", "floats"),
    _printed("inf", "print('inf')", "1e308", "floats"),
    _printed(
        "within_tolerance_of_a_whole_number", "print('1000000000001')", "1000000000000", "floats"
    ),
    _printed("unicode_digits", "print('\\u0664\\u0662')", "42", "tokens"),
    _printed("unicode_digits_as_floats", "print('\\u0664\\u0662')", "42", "floats"),
    _printed("unicode_spaces", "print('4\\u20032')", "4 2", "tokens"),
    _printed("underscores", "print('4_2')", "42", "floats"),
    _printed("nul", "print('42\\0')", "42", "tokens"),
    _printed("byte_order_mark", "print('\\ufeff42')", "42", "tokens"),
    _printed("invalid_bytes", "import sys; sys.stdout.buffer.write(b'\\xff\\xfe')", "42", "tokens"),
    _printed("deep_json", "print('[' * 100000 + ']' * 100000)", "[1]", "json"),
    _printed("json_990_deep", "print('[' * 990 + ']' * 990)", "[1]", "json"),
    _printed("json_of_many_digits", "print('9' * 4000)", "9", "json"),
    _printed("json_nan", "print('NaN')", "1", "json"),
    _printed("many_tokens", "print('1 ' * 500000)", "1", "floats"),
    _printed("many_lines", "print('1\\n' * 500000)", "1", "multiset"),
    _printed(
        "colliding_keys",
        "print('{' + ','.join(f'\"k{i}\": 1' for i in range(50000)) + '}')",
        "{}",
        "json",
    ),
)


def _unbuilt(name: str, language: str, code: str, right: frozenset[Verdict] = UNBUILT) -> Attack:
    return Attack(name=name, family="compiling", language=language, code=code, right=right)


COMPILING = (
    _unbuilt("includes_zeros", "c", '#include "/dev/zero"\nint main(void) {}'),
    _unbuilt("includes_its_own_output", "c", '#include "/dev/stdout"\nint main(void) {}'),
    _unbuilt("includes_shadow", "c", '#include "/etc/shadow"\nint main(void) {}'),
    _unbuilt("includes_passwd", "c", '#include "/etc/passwd"\nint main(void) {}'),
    _unbuilt(
        "macro_bomb",
        "c",
        "#define A(x) x x x x x x x x x x\n#define B(x) A(A(A(A(x))))\n"
        "int main(void) { return 0 B(B(B(+1))); }",
    ),
    _unbuilt(
        "template_bomb",
        "cpp",
        "template<int a, int b> struct G { G<a + 1, b> *x;"
        " G<a, b + 1> y; }; G<0, 0> g; int main() {}",
    ),
    _unbuilt(
        "constexpr_bomb",
        "cpp",
        "constexpr long f(long n) { long s = 0; for (long i = 0;"
        " i < n; i++) for (long j = 0; j < n; j++) s += i ^ j; return s; }"
        " static_assert(f(1000000) != 1); int main() {}",
    ),
    _unbuilt("huge_array", "c", "int a[1 << 30] = {1}; int main(void) { return a[3]; }"),
    _unbuilt(
        "huge_assembly", "c", '__asm__(".fill 0x7fffffff, 8, 1"); int main(void) { return 0; }'
    ),
    _unbuilt(
        "binary_include_of_zeros",
        "c",
        '__asm__(".incbin \\"/dev/zero\\""); int main(void) { return 0; }',
    ),
    _unbuilt(
        "binary_include_of_a_file",
        "c",
        _C_START + '__asm__("secret: .incbin \\"/etc/passwd\\"\\n.byte 0"); extern char secret[];\n'
        'int main(void) { if (strstr(secret, "root")) puts("REACHED"); return 0; }',
        HELD,
    ),
)

ATTACKS = (
    *FORGING,
    *FINDING,
    *LEAKS,
    *HURTING,
    *NETWORK,
    *LINKS,
    *SYSTEM_CALLS,
    *IPC,
    *BOMBS,
    *HANGING,
    *COMPARER,
    *COMPILING,
)
