"""Convert the asserts of data sets (MBPP, HumanEval) to cases that the solution cannot see.

assert f(1, [2]) == (3, 4)   --> {"function": "f", "args": [1, [2]], "output": (3, 4)}
any other                    --> {"program": ..., "functions": ["f"]}, run in another sandbox
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = ["from_asserts", "from_humaneval"]


def from_asserts(
    tests: str | Sequence[str], *, setup: str = "", function: str | None = None
) -> list[dict[str, Any]]:
    """Return the cases of MBPP's `test_list`; `setup` (imports, constants) precedes each.

    A call whose arguments and expected value are literals becomes a case compared by ==. Other
    asserts run as text in a second sandbox, where undefined names are functions of the solution.

    Args:
        function: the solution's function, required if it is named like a built-in (`sum`).

    Raises:
        ValueError: the tests are not Python.
    """
    text = tests if isinstance(tests, str) else "\n".join(tests)
    return list(_cases(_parse(text).body, setup, function))


def from_humaneval(test: str, entry_point: str, *, setup: str = "") -> list[dict[str, Any]]:
    """Return the cases of HumanEval's `test`: the asserts in `check(candidate)`.

    Raises:
        ValueError: it is not Python, or has no function `check` with one parameter.
    """
    tree = _parse(test)
    checks = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check"]
    if len(checks) != 1 or len(checks[0].args.args) != 1:
        raise ValueError("the test has no function check(candidate)")
    [candidate] = checks[0].args.args
    before = [node for node in tree.body if node is not checks[0]]
    start = "\n".join([setup, *map(ast.unparse, before)]).strip()
    for node in ast.walk(checks[0]):
        if isinstance(node, ast.Name) and node.id == candidate.arg:
            node.id = entry_point
    return list(_cases(checks[0].body, start, entry_point))


def _parse(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the tests are not Python: {error}") from error


def _cases(
    statements: Sequence[ast.stmt], setup: str, function: str | None
) -> Iterator[dict[str, Any]]:
    """Yield a case per assert, or one for all if some statements are no asserts or imports."""
    statements = [
        node
        for node in statements
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    if not all(isinstance(node, ast.Assert | ast.Import | ast.ImportFrom) for node in statements):
        yield _as_program(statements, setup, function)
        return
    imports = [node for node in statements if not isinstance(node, ast.Assert)]
    start = "\n".join([setup, *map(ast.unparse, imports)]).strip()
    for node in statements:
        if isinstance(node, ast.Assert):
            yield _as_call(node, function) or _as_program([node], start, function)


def _as_call(node: ast.Assert, function: str | None) -> dict[str, Any] | None:
    """Return the case of a call that is compared to a literal, else None."""
    test = node.test
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    call, value = test.left, test.comparators[0]
    if isinstance(value, ast.Call) and not isinstance(call, ast.Call):
        call, value = value, call
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        return None
    is_builtin = call.func.id in vars(builtins) and call.func.id != function
    is_singleton = isinstance(value, ast.Constant) and value.value in (None, True, False)
    is_equal = isinstance(test.ops[0], ast.Eq)
    if is_builtin or not (is_equal or (isinstance(test.ops[0], ast.Is) and is_singleton)):
        return None
    try:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        expected = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return None
    compare = "equal" if is_equal else "json"  # `is` also compares the type
    return {"function": call.func.id, "args": arguments, "output": expected, "compare": compare}


def _as_program(statements: Iterable[ast.stmt], setup: str, function: str | None) -> dict[str, Any]:
    program = "\n".join([setup, *map(ast.unparse, statements)]).strip()
    names = _free_names(ast.parse(program)) | ({function} if function else set())
    modules = sorted(names & sys.stdlib_module_names)  # tests may rely on the solution's imports
    imports = [f"import {name}" for name in modules if name != function]
    functions = sorted(names.difference(modules) | ({function} if function else set()))
    return {"program": "\n".join([*imports, program]), "functions": functions}


def _free_names(tree: ast.Module) -> set[str]:
    """Return the names that are used but neither bound anywhere nor built in."""
    used: set[str] = set()
    bound = set(vars(builtins))
    for node in ast.walk(tree):
        match node:
            case ast.Name(ctx=ast.Load()):
                used.add(node.id)
            case ast.Name():
                bound.add(node.id)
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                bound.add(node.name)
            case ast.arg():
                bound.add(node.arg)
            case ast.alias():
                bound.add((node.asname or node.name).partition(".")[0])
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
    return used - bound
