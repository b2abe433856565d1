"""The public API `run` and `judge`: verdicts, languages, bad arguments, threads, asyncio."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import sandbox
from sandbox import Checker, Limits, Verdict, ajudge, arun, judge, run

pytestmark = pytest.mark.slow  # processes are started

ROOT = Path(__file__).parents[2]
DOUBLE = "print(int(input()) * 2)"
TWICE = [{"input": "21", "output": "42"}, {"input": "4", "output": "8\n"}]
SUM = (
    '#include <stdio.h>\nint main(void) { int a, b; scanf("%d %d", &a, &b);'
    ' printf("%d\\n", a + b); return 0; }'
)


def test_a_program_that_ends_well_is_accepted_with_what_it_used() -> None:
    result = run("print(input()); import sys; print('e', file=sys.stderr)", stdin="hé")
    assert (result.verdict, result.exit_code) == (Verdict.ACCEPTED, 0)
    assert (result.stdout, result.stderr) == ("hé\n".encode(), b"e\n")
    assert 0 < result.wall_s < 5
    assert 0 < result.cpu_s < 5
    assert result.peak_memory_bytes > 1 << 20


@pytest.mark.parametrize(
    ("code", "verdict", "exit_code"),
    [
        ("raise SystemExit(3)", Verdict.RUNTIME_ERROR, 3),
        ("raise SystemExit('text')", Verdict.RUNTIME_ERROR, 1),
        ("1 / 0", Verdict.RUNTIME_ERROR, 1),
        ("import os; os.kill(os.getpid(), 15)", Verdict.RUNTIME_ERROR, -15),
        ("import os; os.abort()", Verdict.RUNTIME_ERROR, -6),
        ("x = [0] * 10**12", Verdict.MEMORY_LIMIT, 1),
        ("def f(:", Verdict.COMPILE_ERROR, 1),
        ("\0", Verdict.COMPILE_ERROR, 1),
        ("\ud800", Verdict.COMPILE_ERROR, 1),
        ("import ctypes; ctypes.CDLL(None).ptrace(0)", Verdict.POLICY_VIOLATION, -31),
    ],
)
def test_every_failure_has_its_verdict(code: str, verdict: Verdict, exit_code: int) -> None:
    result = run(code)
    assert (result.verdict, result.exit_code) == (verdict, exit_code)
    assert result.reason


def test_files_lie_where_the_program_starts_and_can_be_imported() -> None:
    files: dict[str, str | bytes] = {"a/b.txt": "text", "helper.py": "x = 5", "raw": b"\xff"}
    code = "import helper; print(open('a/b.txt').read(), helper.x, open('raw', 'rb').read())"
    assert run(code, files=files).stdout == b"text 5 b'\\xff'\n"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", "a\0b"])
def test_a_file_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not inside"):
        run("pass", files={name: "x"})
    with pytest.raises(ValueError, match="is not inside"):
        run("pass", collect=[name])


def test_stdin_and_stdout_cases() -> None:
    good = judge(DOUBLE, TWICE)
    assert good.verdict is Verdict.ACCEPTED
    assert [case.stdout for case in good.cases] == [b"42\n", b"8\n"]


def test_judging_stops_at_the_first_failure_unless_told_otherwise() -> None:
    cases = [{"input": "1", "output": "3"}, *TWICE]
    stopped = judge(DOUBLE, cases)
    assert stopped.verdict is Verdict.WRONG_ANSWER
    assert len(stopped.cases) == 1
    assert stopped.reason == "case 0: '2' where '3' was expected"
    whole = judge(DOUBLE, cases, stop_early=False)
    assert [case.verdict for case in whole.cases] == [
        Verdict.WRONG_ANSWER,
        Verdict.ACCEPTED,
        Verdict.ACCEPTED,
    ]
    assert whole.verdict is Verdict.WRONG_ANSWER


def test_function_cases() -> None:
    code = "class Solution:\n    def pair(self, a, b):\n        return (a, {b: 1.5}, {a})"
    value = (1, {"x": 1.5}, {1})
    result = judge(code, [{"args": [1, "x"], "output": value}], function="Solution().pair")
    assert result.verdict is Verdict.ACCEPTED
    assert result.cases[0].value == value


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("def f(x): return [x]", Verdict.WRONG_ANSWER),
        ("def f(x): return object()", Verdict.RUNTIME_ERROR),
        ("def g(x): return (x,)", Verdict.RUNTIME_ERROR),
        ("f = 3", Verdict.RUNTIME_ERROR),
        ("def f(x): print('(1,)')", Verdict.WRONG_ANSWER),
        ("def f(x): raise SystemExit(0)", Verdict.RUNTIME_ERROR),
        ("def f(x):\n    l = []\n    l.append(l)\n    return l", Verdict.RUNTIME_ERROR),
    ],
)
def test_function_cases_that_fail(code: str, verdict: Verdict) -> None:
    assert judge(code, [{"args": [1], "output": (1,)}], function="f").verdict is verdict


@pytest.mark.parametrize(
    ("code", "outputs", "verdicts"),
    [
        ("def f(x): return x + 1", [1, 2, 3], "aaa"),
        ("def f(x): return 2 if x == 1 else 9", [1, 2, 3], "waw"),
        ("n = 0\ndef f(x):\n    global n\n    n += 1\n    return n", [1, 1, 1], "aaa"),
        ("import os\ndef f(x):\n    if x == 1: os._exit(0)\n    return x + 1", [1, 2, 3], "ara"),
        ("def f(x):\n    print(x)\n    return x + 1", [1, 2, 3], "aaa"),
        ("def f(x):\n    if x == 2: 1 / 0\n    return x + 1", [1, 2, 3], "aar"),
        ("import os\ndef f(x):\n    os.write(3, b'junk')\n    return x + 1", [1, 2, 3], "rrr"),
    ],
)
def test_calls_in_a_row_are_judged_as_if_each_were_alone(
    code: str, outputs: list[int], verdicts: str
) -> None:
    words = {"a": Verdict.ACCEPTED, "w": Verdict.WRONG_ANSWER, "r": Verdict.RUNTIME_ERROR}
    cases = [{"args": [n], "output": output} for n, output in enumerate(outputs)]
    judged = judge(code, cases, function="f", stop_early=False)
    assert [case.verdict for case in judged.cases] == [words[letter] for letter in verdicts]
    stopped = judge(code, cases, function="f")
    assert stopped.verdict is judged.verdict


def test_a_case_may_say_how_it_is_compared() -> None:
    cases: list[dict[str, Any]] = [
        {"args": [0.1], "output": 0.3, "compare": "floats"},
        {"args": [1], "output": 3.0, "compare": "equal"},
    ]
    code = "def f(x): return x + x + x"
    assert judge(code, cases, function="f").verdict is Verdict.ACCEPTED
    assert judge(code, [{"args": [1], "output": 3.0}], function="f").verdict is (
        Verdict.WRONG_ANSWER
    )


def test_a_checker_decides_where_many_outputs_are_right() -> None:
    checker = Checker(
        "import sys\n_, got, expected = (open(name).read().split() for name in sys.argv[1:])\n"
        "sys.exit(0 if sorted(got) == sorted(expected) else 'not a permutation')"
    )
    case = [{"input": "", "output": "1 2 3"}]
    assert judge("print(3, 1, 2)", case, compare=checker).verdict is Verdict.ACCEPTED
    wrong = judge("print(3, 1, 1)", case, compare=checker)
    assert wrong.verdict is Verdict.WRONG_ANSWER
    assert "not a permutation" in wrong.reason


def test_a_checker_of_a_function_gets_literals() -> None:
    checker = Checker(
        "import json, sys\ngiven, got, expected = (json.load(open(n)) for n in sys.argv[1:])\n"
        "assert given == [7] and expected == 7\nassert got % 7 == 0"
    )
    cases = [{"args": [7], "output": 7}]
    good = judge("def f(x): return x * 3", cases, function="f", compare=checker)
    assert good.verdict is Verdict.ACCEPTED, good.reason


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_c() -> None:
    assert judge(SUM, [{"input": "20 22", "output": "42"}], language="c").verdict is (
        Verdict.ACCEPTED
    )
    failed = judge("int main( { }", TWICE, language="c")
    assert failed.verdict is Verdict.COMPILE_ERROR
    assert "error" in failed.reason


@pytest.mark.skipif(not shutil.which("g++"), reason="g++ is not installed")
def test_cpp() -> None:
    code = "#include <iostream>\nint main() { long a; std::cin >> a; std::cout << a * 2; }"
    assert judge(code, TWICE, language="cpp").verdict is Verdict.ACCEPTED


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash() -> None:
    assert judge("read x; echo $((x * 2))", TWICE, language="bash").verdict is Verdict.ACCEPTED


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_javascript() -> None:
    code = "console.log(2 * Number(require('fs').readFileSync(0, 'utf8')))"
    assert judge(code, TWICE, language="javascript").verdict is Verdict.ACCEPTED


def test_a_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.languages._SEARCH_PATH", "/nowhere")
    with pytest.raises(sandbox.SandboxUnavailable, match=r"c needs gcc.*apt-get install gcc"):
        run("int main(){}", language="c")


@pytest.mark.parametrize(
    ("cases", "options", "message"),
    [
        ([], {}, "cases is empty"),
        ([{"input": "1"}], {}, r"cases\[0\] has the keys input; allowed"),
        ([{"input": "1", "output": "2", "outputs": 3}], {}, r"cases\[0\] has the keys"),
        ([TWICE[0], 7], {}, r"cases\[1\] is int; allowed: a dictionary"),
        ([{"input": 1, "output": "2"}], {}, r"cases\[0\]: input is int; allowed: text"),
        ([{"args": [1], "output": 2}], {}, "function is None; allowed: a name"),
        ([{"args": [1], "output": 2}], {"function": "f(1)"}, r"function is 'f\(1\)'"),
        ([{"args": 1, "output": 2}], {"function": "f"}, "args is int; allowed: a list"),
        ([{"args": [object()], "output": 2}], {"function": "f"}, "object is not a literal"),
        (TWICE, {"function": "f"}, "with a function a case has args"),
        (TWICE, {"compare": "fuzzy"}, "compare is 'fuzzy'; allowed: tokens, lines"),
        (TWICE, {"tolerance": -1}, "tolerance is -1"),
        (TWICE, {"language": "cobol"}, "language is 'cobol'; allowed: python, c, cpp"),
        ([{"args": [], "output": 1}], {"function": "f", "language": "c"}, "are for python"),
    ],
)
def test_bad_arguments_are_named(cases: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judge("pass", cases, **options)


def test_threads_share_the_workers() -> None:
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda n: run(f"print({n})").stdout, range(40)))
    assert results == [f"{n}\n".encode() for n in range(40)]


def test_asyncio() -> None:
    async def both() -> tuple[bytes, Verdict]:
        result, judgement = await asyncio.gather(arun("print(1)"), ajudge(DOUBLE, TWICE))
        return result.stdout, judgement.verdict

    assert asyncio.run(both()) == (b"1\n", Verdict.ACCEPTED)


def in_a_fork() -> bytes:
    return run("print('from a fork')").stdout


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_of_a_process_that_has_workers_starts_its_own() -> None:
    run("pass")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.apply(in_a_fork) == b"from a fork\n"
    assert run("print(1)").stdout == b"1\n"


def test_after_shutdown_the_next_run_starts_afresh() -> None:
    sandbox.shutdown()
    others = workers_of(os.getpid())
    run("pass")
    mine = workers_of(os.getpid()) - others
    assert mine
    sandbox.shutdown()
    assert workers_of(os.getpid()) == others
    assert run("print(1)").stdout == b"1\n"


def workers_of(pid: int) -> set[int]:
    """Its children that run the worker's command."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = stat.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and b"sandbox.inside.worker" in command:
            found.add(int(stat.parent.name))
    return found


def test_a_process_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    code = (
        "import os, sandbox\nsandbox.run('pass')\n"
        "print(os.getpid(), flush=True)\nsandbox.run('import time; time.sleep(60)')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    below = workers_of(pid)
    assert below
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = 50
    while any(Path(f"/proc/{worker}").exists() for worker in below) and deadline:
        deadline -= 1
        subprocess.run(["sleep", "0.1"], check=True)
    assert deadline, "a worker outlived its supervisor"


def test_the_package_needs_the_standard_library_only() -> None:
    code = (
        "import sys, sandbox\nsandbox.run('pass')\nsandbox.shutdown()\n"
        "mine = {m.partition('.')[0] for m in sys.modules}\n"
        "print(sorted(m for m in mine - sys.stdlib_module_names if not m.startswith('_')))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['sandbox']"


def test_limits_are_for_each_case() -> None:
    cases = [{"input": "", "output": ""}] * 3
    limits = Limits(wall_s=1.0, cpu_s=0.4)
    code = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    assert judge(code, cases, limits=limits).verdict is Verdict.ACCEPTED
