"""Honest programs and the exact verdict of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import Limits, Verdict

__all__ = ["HONEST", "Honest"]

ACCEPTED = Verdict.ACCEPTED
ERROR = Verdict.RUNTIME_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Honest:
    """Judged where it has cases, else run."""

    name: str
    code: str
    right: Verdict = ACCEPTED
    right_in_landlock: Verdict | None = None  # where it is another: no processes there
    language: str = "python"
    cases: tuple[Mapping[str, Any], ...] = ()
    function: str | None = None
    compare: str | None = None
    stdin: bytes = b""
    limits: Limits = Limits(wall_s=20, cpu_s=10)  # noqa: RUF009  # frozen
    is_slow: bool = False


def _prints(output: str, given: str = "") -> tuple[Mapping[str, Any], ...]:
    return ({"input": given, "output": output},)


def _returns(value: Any, *args: Any) -> tuple[Mapping[str, Any], ...]:
    return ({"args": list(args), "output": value},)


LANGUAGE = (
    Honest(
        name="deep_recursion",
        cases=_prints("50000"),
        code="""
import sys
sys.setrecursionlimit(10**6)
def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
print(depth(50000))
""",
    ),
    Honest(
        name="deep_recursion_in_a_thread",
        cases=_prints("50000"),
        code="""
import sys, threading
sys.setrecursionlimit(10**6)
threading.stack_size(64 << 20)
def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
thread = threading.Thread(target=lambda: print(depth(50000)))
thread.start(); thread.join()
""",
    ),
    Honest(
        name="threads",
        cases=_prints("499500"),
        code="""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool: print(sum(pool.map(int, range(1000))))
""",
    ),
    Honest(
        name="a_thread_that_prints_last",
        cases=_prints("1 2"),
        code="""
import threading, time
threading.Thread(target=lambda: (time.sleep(0.1), print(2))).start()
print(1)
""",
    ),
    Honest(
        name="atexit_prints",
        cases=_prints("1 2"),
        code="""
import atexit
atexit.register(print, 2)
print(1)
""",
    ),
    Honest(
        name="asyncio",
        cases=_prints("6"),
        code="""
import asyncio
async def one(n):
    await asyncio.sleep(0.01)
    return n
async def main(): return sum(await asyncio.gather(*map(one, range(4))))
print(asyncio.run(main()))
""",
    ),
    Honest(
        name="files",
        cases=_prints("text"),
        code="""
import os, shutil, tempfile
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "a")
    with open(path, "w") as file: file.write("text")
    shutil.copyfile(path, path + "b"); os.rename(path + "b", "c")
    print(open("c").read())
with tempfile.NamedTemporaryFile() as file: file.write(b"x")
""",
    ),
    Honest(
        name="100_megabytes",
        cases=_prints("104857600"),
        code="b = b'x' * (100 << 20)\nprint(len(b))",
    ),
    Honest(name="slow_start", cases=_prints("42"), code="import time\ntime.sleep(0.5)\nprint(42)"),
    Honest(
        name="dataclasses_and_enums",
        cases=_prints("P(x=1) 2"),
        code="""
from dataclasses import dataclass
from enum import Enum
@dataclass
class P: x: int
class E(Enum): A = 2
print(P(1), E.A.value)
""",
    ),
    Honest(
        name="main_guard", cases=_prints("42"), code="if __name__ == '__main__':\n    print(42)"
    ),
    Honest(
        name="pickles_of_its_own",
        cases=_prints("1"),
        code="""
import pickle
class A: x = 1
print(pickle.loads(pickle.dumps(A())).x)
""",
    ),
    Honest(name="eval_and_exec", cases=_prints("7"), code="exec('x = 3'); print(eval('x + 4'))"),
    Honest(
        name="signal_alarm",
        cases=_prints("late"),
        code="""
import signal, time
def late(*_): raise TimeoutError
signal.signal(signal.SIGALRM, late)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try: time.sleep(5)
except TimeoutError: print("late")
""",
    ),
    Honest(
        name="modules",
        cases=_prints("ok"),
        code="""
import bisect, collections, decimal, fractions, functools, heapq, itertools, math, operator, random
import re, sqlite3, statistics, string, uuid, zoneinfo, bz2, lzma, zlib, hashlib, hmac, csv, ctypes
uuid.uuid4(); random.random(); hashlib.sha256(b"x").hexdigest()
assert sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,)
assert str(decimal.Decimal("0.1") + decimal.Decimal("0.2")) == "0.3"
print("ok")
""",
    ),
    Honest(name="numpy_is_absent", right=ERROR, code="import numpy"),
    Honest(
        name="shared_values_of_processes",
        right_in_landlock=ERROR,
        cases=_prints("3"),
        code="""
import multiprocessing
def add(value): value.value += 1
value = multiprocessing.get_context("fork").Value("i", 2)
process = multiprocessing.get_context("fork").Process(target=add, args=(value,))
process.start(); process.join()
print(value.value)
""",
    ),
    Honest(
        name="fork",
        right_in_landlock=ERROR,
        cases=_prints("1 2"),
        code="""
import os
pid = os.fork()
if pid == 0:
    print(1, flush=True); os._exit(0)
os.waitpid(pid, 0)
print(2)
""",
    ),
    Honest(
        name="subprocess",
        right_in_landlock=ERROR,
        cases=_prints("hi"),
        code="""
import subprocess
print(subprocess.run(["echo", "hi"], capture_output=True, text=True, check=True).stdout)
""",
    ),
    Honest(
        name="process_pool",
        right_in_landlock=ERROR,
        cases=_prints("[0, 1, 4]"),
        code="""
import multiprocessing
with multiprocessing.Pool(2) as pool: print(pool.map(abs, [0, -1, 4]))
""",
    ),
)

INPUT_AND_OUTPUT = (
    Honest(
        name="input_to_its_end",
        cases=_prints("6", "1\n2\n3"),
        code="""
total = 0
try:
    while True: total += int(input())
except EOFError: print(total)
""",
    ),
    Honest(
        name="stdin_as_a_file",
        cases=_prints("6", "1 2 3"),
        code="print(sum(map(int, open('/dev/stdin').read().split())))",
    ),
    Honest(
        name="stdin_as_a_descriptor",
        cases=_prints("6", "1 2 3"),
        code="print(sum(map(int, open(0).read().split())))",
    ),
    Honest(
        name="stdin_read_twice",
        cases=_prints("1 2", "1\n2\n"),
        code="import sys\nprint(input(), sys.stdin.buffer.read().decode() or input())",
    ),
    Honest(
        name="stdin_of_10_megabytes",
        cases=_prints("10485760", "x" * (10 << 20)),
        code="import sys\nprint(len(sys.stdin.read()))",
    ),
    Honest(name="stdin_never_read", cases=_prints("42", "x" * (1 << 20)), code="print(42)"),
    Honest(
        name="stdout_as_a_file",
        cases=_prints("42"),
        code="with open('/dev/stdout', 'w') as f: f.write('42')",
    ),
    Honest(name="unicode", cases=_prints("héé ☃ 𝄞", "hé"), code="print(input() + 'é ☃ 𝄞')"),
    Honest(
        name="unicode_is_utf_8",
        cases=_prints("5"),
        code="import sys\nprint(len('☃'.encode(sys.stdout.encoding)) + 2)",
    ),
    Honest(name="900_kilobytes", cases=_prints("x" * 900_000), code="print('x' * 900_000)"),
    Honest(
        name="exit_0_after_the_answer",
        cases=_prints("42"),
        code="import sys\nprint(42)\nsys.exit(0)",
    ),
    Honest(
        name="hard_exit_0_after_the_answer",
        cases=_prints("42"),
        code="import os\nprint(42, flush=True)\nos._exit(0)",
    ),
    Honest(
        name="warnings_on_stderr",
        cases=_prints("42"),
        code="import sys\nprint('MemoryError', file=sys.stderr)\nprint(42)",
    ),
    Honest(
        name="windows_line_ends", cases=_prints("1\n2\n"), compare="lines", code="print('1\\r\\n2')"
    ),
)

FUNCTIONS = (
    Honest(
        name="method",
        function="Solution().add",
        cases=_returns(3, 1, 2),
        code="class Solution:\n    def add(self, a, b): return a + b",
    ),
    Honest(
        name="named_tuple",
        function="f",
        cases=_returns((1, 2)),
        code="""
from collections import namedtuple
def f(): return namedtuple("P", "x y")(1, 2)
""",
    ),
    Honest(
        name="counter",
        function="f",
        cases=_returns({"a": 2, "b": 1}),
        code="from collections import Counter\ndef f(): return Counter('aab')",
    ),
    Honest(
        name="default_dictionary",
        function="f",
        cases=_returns({1: [2], (1, 2): [3]}),
        code="""
from collections import defaultdict
def f():
    d = defaultdict(list)
    d[1].append(2); d[1, 2].append(3)
    return d
""",
    ),
    Honest(
        name="numbers_of_5000_digits",
        function="f",
        cases=_returns(10**5000, 10**2500),
        code="def f(n): return n * n",
    ),
    Honest(
        name="big_numbers_in_a_set",
        function="f",
        cases=_returns({10**5000, 1}),
        code="def f(): return {1, 10**5000}",
    ),
    Honest(
        name="big_numbers_in_any_order",
        function="f",
        compare="multiset",
        cases=_returns([1, 10**5000]),
        code="def f(): return [10**5000, 1]",
    ),
    Honest(
        name="sets_of_bytes",
        function="f",
        cases=_returns({b"a", b"b"}),
        code="def f(): return {b'b', b'a'}",
    ),
    Honest(
        name="bytes_as_keys",
        function="f",
        cases=_returns({b"a": 1}),
        code="def f(): return {b'a': 1}",
    ),
    Honest(
        name="complex_numbers",
        function="f",
        cases=_returns({1j, 2 + 0j}),
        code="def f(): return {2 + 0j, 1j}",
    ),
    Honest(
        name="sets_in_sets",
        function="f",
        cases=_returns({frozenset({1, 2}), frozenset()}),
        code="def f(): return {frozenset(), frozenset([2, 1])}",
    ),
    Honest(
        name="nested_values",
        function="f",
        cases=_returns([{"a": (1, [None, True, 2.5])}]),
        code="def f(): return [{'a': (1, [None, True, 2.5])}]",
    ),
    Honest(name="nothing_returned", function="f", cases=_returns(None), code="def f(): pass"),
    Honest(
        name="prints_beside_its_value",
        function="f",
        cases=_returns(1),
        code="def f():\n    print('value')\n    return 1",
    ),
    Honest(
        name="equal_numbers",
        function="f",
        compare="equal",
        cases=_returns([1, 2]),
        code="def f(): return [1.0, 2]",
    ),
    Honest(
        name="close_numbers",
        function="f",
        compare="floats",
        cases=_returns([0.3]),
        code="def f(): return [0.1 + 0.2]",
    ),
    Honest(
        name="changes_its_arguments",
        function="f",
        cases=(*_returns([1], []), *_returns([1], [])),
        code="def f(x):\n    x.append(1)\n    return x",
    ),
    Honest(
        name="tests_of_its_own_kind",
        cases=(
            {
                "program": "assert f(2) > 3\nassert sorted(f(n) for n in range(3)) == [0, 1, 4]",
                "functions": ["f"],
            },
        ),
        code="def f(x): return x * x",
    ),
)

FAILING = (
    Honest(name="exit_with_text", right=ERROR, code="raise SystemExit('text')"),
    Honest(name="exit_with_3", right=ERROR, code="raise SystemExit(3)"),
    Honest(name="uncaught", right=ERROR, code="{}['key']"),
    Honest(
        name="uncaught_after_the_answer", right=ERROR, cases=_prints("42"), code="print(42)\n1 / 0"
    ),
    Honest(name="assertion", right=ERROR, code="assert 1 == 2"),
    Honest(
        name="terminates_itself",
        right=ERROR,
        code="import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    ),
    Honest(name="aborts", right=ERROR, code="import os\nos.abort()"),
    Honest(name="crashes", right=ERROR, code="import ctypes\nctypes.string_at(0)"),
    Honest(name="too_deep", right=ERROR, code="def f(): f()\nf()"),
    Honest(
        name="endless",
        right=Verdict.TIME_LIMIT,
        code="while True: pass",
        limits=Limits(wall_s=3, cpu_s=0.3),
    ),
    Honest(name="memory_error", right=Verdict.MEMORY_LIMIT, code="x = [0] * 10**10"),
    Honest(
        name="memory_bit_by_bit",
        right=Verdict.MEMORY_LIMIT,
        limits=Limits(memory_bytes=64 << 20),
        code="x = []\nwhile True: x.append(str(len(x)))",
    ),
    Honest(name="wrong", right=Verdict.WRONG_ANSWER, cases=_prints("42"), code="print(41)"),
    Honest(
        name="wrong_value",
        right=Verdict.WRONG_ANSWER,
        function="f",
        cases=_returns(1),
        code="def f(): return 2",
    ),
    Honest(name="no_such_function", right=ERROR, function="f", cases=_returns(1), code="g = 1"),
    Honest(name="syntax_error", right=Verdict.COMPILE_ERROR, code="def f(:"),
    Honest(name="nul_in_the_code", right=Verdict.COMPILE_ERROR, code="x = 1\0"),
    Honest(name="too_much_output", right=Verdict.OUTPUT_LIMIT, code="print('x' * 2_000_000)"),
)

_SUM_IN_C = """#include <stdio.h>
int main(void) { int a, b; if (scanf("%d %d", &a, &b) == 2) printf("%d\\n", a + b); return 0; }
"""
_SUM_IN_CPP = """#include <cstdio>
#include <vector>
int main() { std::vector<int> v(2); if (scanf("%d %d", &v[0], &v[1]) == 2)
std::printf("%d\\n", v[0] + v[1]); }
"""

LANGUAGES = (
    Honest(name="c", language="c", cases=_prints("3", "1 2"), code=_SUM_IN_C),
    Honest(
        name="c_that_does_not_compile",
        language="c",
        right=Verdict.COMPILE_ERROR,
        code="int main(void) { return x; }",
    ),
    Honest(
        name="c_that_crashes",
        language="c",
        right=ERROR,
        code="int main(void) { return *(volatile int *)0; }",
    ),
    Honest(
        name="c_with_100_megabytes",
        language="c",
        cases=_prints("1"),
        code="""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) { char *p = malloc(100 << 20); memset(p, 1, 100 << 20); printf("%d\\n", p[5000]); }
""",
    ),
    Honest(name="cpp", language="cpp", cases=_prints("3", "1 2"), code=_SUM_IN_CPP, is_slow=True),
    Honest(
        name="bash", language="bash", cases=_prints("3", "1 2"), code="read a b\necho $((a + b))"
    ),
    Honest(
        name="bash_with_processes",
        language="bash",
        right_in_landlock=ERROR,
        cases=_prints("1\n2"),
        code="set -e\nprintf '2\\n1\\n' | sort",
    ),
    Honest(
        name="javascript",
        language="javascript",
        cases=_prints("3", "1 2"),
        is_slow=True,
        code="""
const [a, b] = require("fs").readFileSync(0, "utf8").split(" ").map(Number);
console.log(a + b);
""",
    ),
    Honest(
        name="javascript_that_throws",
        language="javascript",
        right=ERROR,
        is_slow=True,
        code="throw new Error('x')",
    ),
)

HONEST = (*LANGUAGE, *INPUT_AND_OUTPUT, *FUNCTIONS, *FAILING, *LANGUAGES)
