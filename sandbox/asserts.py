"""Asserts of data sets (MBPP, HumanEval) as cases that a solution cannot see.

assert f(1, [2]) == (3, 4)   --> {"function": "f", "args": [1, [2]], "output": (3, 4)}
anything else                --> {"program": ..., "functions": ["f"]}, run away from the solution
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
    """Cases of MBPP's `test_list`; `setup` (imports, constants) comes before each.

    `function`: the solution's, which matters where it is called like a built-in one (`sum`).

    A call whose arguments and expected value are literals becomes a case of its own, compared as
    Python's == does. Other asserts keep their text and run in a second sandbox, where the names
    that they do not define themselves stand for functions of the solution.

    Raises:
        ValueError: not Python.
    """
    text = tests if isinstance(tests, str) else "\n".join(tests)
    return list(_cases(_parsed(text).body, setup, function))


def from_humaneval(test: str, entry_point: str, *, setup: str = "") -> list[dict[str, Any]]:
    """Cases of HumanEval's `test`: the asserts in `check(candidate)`.

    Raises:
        ValueError: not Python, or no function `check` with one parameter.
    """
    tree = _parsed(test)
    checks = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check"]
    if len(checks) != 1 or len(checks[0].args.args) != 1:
        raise ValueError("the test has no function check(candidate)")
    [candidate] = checks[0].args.args
    before = [node for node in tree.body if node is not checks[0]]
    start = "\n".join([setup, *map(ast.unparse, before)]).strip()
    body = [_Renamed(candidate.arg, entry_point).visit(node) for node in checks[0].body]
    return list(_cases(body, start, entry_point))


class _Renamed(ast.NodeTransformer):
    """One name for another."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(id=self._new, ctx=node.ctx) if node.id == self._old else node


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"tests that are not Python: {error}") from error


def _cases(
    statements: Sequence[ast.stmt], setup: str, function: str | None
) -> Iterator[dict[str, Any]]:
    """Statements that are no assert (imports, helpers, loops) make one program of everything."""
    statements = [node for node in statements if not _is_text(node)]
    if not all(isinstance(node, ast.Assert | ast.Import | ast.ImportFrom) for node in statements):
        yield _as_program(statements, setup, function)
        return
    imports = [node for node in statements if not isinstance(node, ast.Assert)]
    start = "\n".join([setup, *map(ast.unparse, imports)]).strip()
    for node in statements:
        if isinstance(node, ast.Assert):
            yield _as_call(node, function) or _as_program([node], start, function)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _as_call(node: ast.Assert, function: str | None) -> dict[str, Any] | None:
    """None where it is not a plain call that equals a literal."""
    test = node.test
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    call, value = test.left, test.comparators[0]
    if isinstance(value, ast.Call) and not isinstance(call, ast.Call):
        call, value = value, call
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        return None
    is_builtin = call.func.id in vars(builtins) and call.func.id != function
    if is_builtin or not _is_equality(test.ops[0], value):
        return None
    try:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        expected = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return None
    compare = "equal" if isinstance(test.ops[0], ast.Eq) else "json"  # `is` sees the type as well
    return {"function": call.func.id, "args": arguments, "output": expected, "compare": compare}


def _is_equality(operator: ast.cmpop, value: ast.expr) -> bool:
    if isinstance(operator, ast.Eq):
        return True
    is_singleton = isinstance(value, ast.Constant) and value.value in (None, True, False)
    return isinstance(operator, ast.Is) and is_singleton


def _as_program(statements: Iterable[ast.stmt], setup: str, function: str | None) -> dict[str, Any]:
    program = "\n".join([setup, *map(ast.unparse, statements)]).strip()
    names = _free_names(ast.parse(program)) | ({function} if function else set())
    modules = sorted(names & sys.stdlib_module_names)  # tests lean on the solution's own imports
    imports = [f"import {name}" for name in modules if name != function]
    functions = sorted(names.difference(modules) | ({function} if function else set()))
    return {"program": "\n".join([*imports, program]), "functions": functions}


def _free_names(tree: ast.Module) -> set[str]:
    """Names that are used, and neither bound somewhere nor built in."""
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
