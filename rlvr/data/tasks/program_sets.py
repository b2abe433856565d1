"""Readers of data sets with tests: any prompt with tests, MBPP, HumanEval, LiveCodeBench."""

from __future__ import annotations

import ast
import base64
import binascii
import io
import json
import pickle
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from rewards import text_of_tests
from rlvr.data.rows import UnreadableRow
from sandbox import from_humaneval

__all__ = ["read_code", "read_humaneval", "read_livecodebench", "read_mbpp"]

MAX_TEST_BYTES = 1 << 28  # of one row, unpacked
_METHOD = re.compile(r"def\s+(\w+)\(\s*self\s*,?\s*(.*?)\)\s*(->[^:]+)?:", re.DOTALL)

Values = Mapping[str, Any]


def read_code(values: Values) -> Values:
    """Prompt and tests as `passes_tests` takes them, optionally with a reference `solution`."""
    tests = values["tests"]
    if not tests or not isinstance(tests, str | Mapping):
        raise UnreadableRow("the tests are neither text nor an object, or empty")
    return {**values, "tests": tests if isinstance(tests, str) else json.dumps(tests)}


def read_mbpp(values: Values) -> Values:
    """MBPP (Austin et al. 2021).

    The prompt shows the first assert, which defines the function's name and arguments; the others
    stay hidden, so a program that fits the shown one alone fails.
    """
    asserts = values["asserts"]
    if not isinstance(asserts, list) or len(asserts) < 2:
        raise UnreadableRow("fewer than two asserts: none would be hidden")
    setup = values.get("setup") or ""
    setup = "\n".join(setup) if isinstance(setup, list) else setup
    prompt = (
        f"{str(values['prompt']).strip()}\nWrite it in Python, in one code block. "
        f"For example, this must hold:\n{asserts[0]}"
    )
    tests = json.dumps({"asserts": asserts, "setup": setup})
    return {"prompt": prompt, "tests": tests, "solution": values.get("solution")}


def read_humaneval(values: Values) -> Values:
    """HumanEval (Chen et al. 2021); the tests may call the helper functions of the prompt."""
    prompt, name = str(values["prompt"]), str(values["entry_point"])
    try:
        cases = from_humaneval(str(values["test"]), name, setup=_helpers(prompt, name))
    except (ValueError, SyntaxError) as error:
        raise UnreadableRow(f"the tests cannot be read: {error}") from None
    solution = values.get("solution")
    return {
        "prompt": (
            "Complete this function. Give the whole program in Python, in one code block.\n"
            f"```python\n{prompt.strip()}\n```"
        ),
        "tests": text_of_tests({"cases": cases, "function": name}),
        "solution": None if solution is None else prompt + str(solution),
    }


def _helpers(prompt: str, name: str) -> str:
    """The program in the prompt without the function to complete."""
    tree = ast.parse(prompt)
    kept = [
        node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == name)
    ]
    return "\n".join(map(ast.unparse, kept))


def read_livecodebench(values: Values) -> Values:
    """LiveCodeBench (Jain et al. 2024): public and private tests, on stdin or as calls.

    The LeetCode problems, which ask for a method of a class, become plain functions of the same
    name and parameters.
    """
    cases = [*_unpacked_cases(values["public"]), *_unpacked_cases(values["private"])]
    if not cases:
        raise UnreadableRow("it has no tests")
    question = str(values["prompt"]).strip()
    if all(case["testtype"] == "stdin" for case in cases):
        prompt = (
            f"{question}\n\nWrite a Python program that reads from stdin and writes to stdout, in "
            "one code block."
        )
        pairs = [{"input": str(c["input"]), "output": str(c["output"])} for c in cases]
        return {"prompt": prompt, "tests": json.dumps({"cases": pairs})}
    header = _METHOD.search(str(values.get("starter") or ""))
    if header is None or any(case["testtype"] != "functional" for case in cases):
        raise UnreadableRow("its tests are calls, and no method is named")
    name, parameters, returns = header[1], header[2], header[3] or ""
    prompt = (
        f"{question}\n\nWrite this function in Python, in one code block.\n"
        f"```python\ndef {name}({parameters}) {returns}:\n```"
    )
    return {"prompt": prompt, "tests": json.dumps({"cases": _calls(cases), "function": name})}


def _calls(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Arguments are JSON, one per line."""
    try:
        inputs = [list(map(json.loads, str(case["input"]).splitlines())) for case in cases]
        outputs = [json.loads(case["output"]) for case in cases]
        return [{"args": i, "output": o} for i, o in zip(inputs, outputs, strict=True)]
    except ValueError as error:
        raise UnreadableRow(f"a test is no JSON: {error}") from None


def _unpacked_cases(text: Any) -> list[dict[str, Any]]:
    """Tests as a list, as JSON or, the private ones, as base64 of zlib of a pickle of JSON."""
    try:
        cases = text if isinstance(text, list) else json.loads(_unpacked(str(text)))
    except (ValueError, zlib.error, binascii.Error, pickle.UnpicklingError, EOFError) as error:
        raise UnreadableRow(f"tests cannot be unpacked: {error}") from None
    if not all(isinstance(c, dict) and {"input", "output", "testtype"} <= c.keys() for c in cases):
        raise UnreadableRow("a test has not input, output and testtype")
    return list(cases)


def _unpacked(text: str) -> str:
    if text.lstrip().startswith("["):
        return text
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(text, validate=True), MAX_TEST_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(f"more than {MAX_TEST_BYTES} bytes")
    return str(_TextUnpickler(io.BytesIO(data)).load())


class _TextUnpickler(pickle.Unpickler):
    """Refuse all globals: a pickled text needs none, and any of them may run code."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} in what should be text")
