"""Rows of public sets of programs: HumanEval, LiveCodeBench."""

from __future__ import annotations

import ast
import base64
import binascii
import io
import json
import pickle
import re
import zlib
from collections.abc import Sequence
from typing import Any

from rewards import text_of_tests
from rlvr.data.tasks.columns import UnreadableRow, Values
from sandbox import from_humaneval

__all__ = ["read_humaneval", "read_livecodebench"]

MAX_TEST_BYTES = 1 << 28  # of one row, unpacked
_METHOD = re.compile(r"def\s+(\w+)\(\s*self\s*,?\s*(.*?)\)\s*(->[^:]+)?:", re.DOTALL)


def read_humaneval(values: Values) -> Values:
    """HumanEval (Chen et al. 2021): helpers in the prompt are there for the tests as well."""
    prompt, name = str(values["prompt"]), str(values["entry_point"])
    try:
        cases = from_humaneval(str(values["test"]), name, setup=_helpers(prompt, name))
    except (ValueError, SyntaxError) as error:
        raise UnreadableRow(f"the tests cannot be read: {error}") from None
    asked = (
        "Complete this function. Give the whole program in Python, in one code block.\n"
        f"```python\n{prompt.strip()}\n```"
    )
    solution = values.get("solution")
    return {
        "prompt": asked,
        "tests": text_of_tests({"cases": cases, "function": name}),
        "solution": None if solution is None else prompt + str(solution),
    }


def read_livecodebench(values: Values) -> Values:
    """LiveCodeBench (Jain et al. 2024): public and private tests, read from stdin or as calls.

    LeetCode's problems ask for a method of a class; here a plain function of the same name and
    parameters is asked for and called.
    """
    cases = [*_packed_cases(values["public"]), *_packed_cases(values["private"])]
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
    """Arguments are JSON, one a line."""
    try:
        return [
            {
                "args": [json.loads(line) for line in str(case["input"]).splitlines()],
                "output": json.loads(case["output"]),
            }
            for case in cases
        ]
    except ValueError as error:
        raise UnreadableRow(f"a test is no JSON: {error}") from None


def _packed_cases(text: Any) -> list[dict[str, Any]]:
    """A list of tests, as JSON or, for private ones, as base64 of zlib of a pickle of JSON."""
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
    """A pickle may run anything; that of a text needs no global name at all."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} in what should be text")


def _helpers(prompt: str, name: str) -> str:
    """The prompt's program without the function that is to be written."""
    tree = ast.parse(prompt)
    kept = [
        node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == name)
    ]
    return "\n".join(map(ast.unparse, kept))
