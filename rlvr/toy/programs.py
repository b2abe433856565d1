"""The toy world's second family: small functions to write, asked for in English or Chinese.

    "Write f: double x, add 3." --> def f(x): return x*2+3     tests: f(1) == 5, ...

A program is held out or not by a hash of its operations: no wording of a held-out one occurs in
training.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlvr.toy.wordings import LANGUAGES
from rlvr.types import Task

__all__ = ["Program", "heldout_programs", "program_task", "train_program", "written_program"]

HELDOUT_ONE_IN = 8
LARGEST_TERM = 9
MAX_HELDOUT = 256
ARGUMENTS = (0, 1, 2, 5, 9)

_WORDS = {
    "en": {"*2": "double", "*3": "triple", "+": "add {n}", "-": "take {n}"},
    "zh": {"*2": "乘2", "*3": "乘3", "+": "加{n}", "-": "减{n}"},
}
_FORM = {"en": "Write f: x, {steps}.", "zh": "写f:x,{steps}。"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Operations on x, one after the other: `Program(operations=("*2", "+3"))`."""

    operations: tuple[str, ...]  # "*2", "*3", "+n" or "-n"

    @property
    def expressions(self) -> tuple[str, ...]:
        """As it grows with each operation: ("x*2", "x*2+3")."""
        grown, expression = [], "x"
        for operation in self.operations:
            is_sum = any(sign in expression for sign in "+-")
            if operation[0] == "*" and is_sum:
                expression = f"({expression})"
            expression += operation
            grown.append(expression)
        return tuple(grown)

    @property
    def code(self) -> str:
        """The function, without a line break at its end."""
        return f"def f(x):\n return {self.expressions[-1]}"

    @property
    def is_heldout(self) -> bool:
        """Whether it may occur in evaluation alone, whatever the seed."""
        digest = hashlib.sha256(" ".join(self.operations).encode()).digest()
        return int.from_bytes(digest[:4], "big") % HELDOUT_ONE_IN == 0

    def value(self, x: int) -> int:
        """What the function returns."""
        for operation in self.operations:
            number = int(operation[1:])
            x = {"*": x * number, "+": x + number, "-": x - number}[operation[0]]
        return x

    def asked_in(self, language: str) -> str:
        """The prompt."""
        words = _WORDS[language]
        steps = [
            words.get(operation) or words[operation[0]].format(n=operation[1:])
            for operation in self.operations
        ]
        comma = {"en": ", ", "zh": ","}[language]
        return _FORM[language].format(steps=comma.join(steps))


def program_task(index: int, *, seed: int = 0) -> Task:
    """The `index`-th of an endless, seeded supply of training tasks."""
    rng = random.Random(f"toy/programs/train/{seed}/{index}")
    return _task(f"toy_programs/train/{seed}/{index}", train_program(rng), rng)


def heldout_programs(num_tasks: int, *, seed: int = 0) -> list[Task]:
    """Held-out tasks, no two with the same operations. Raises ValueError for more than 256."""
    if not 0 < num_tasks <= MAX_HELDOUT:
        raise ValueError(f"num_tasks is {num_tasks}; allowed is 1 to {MAX_HELDOUT}")
    rng = random.Random(f"toy/programs/heldout/{seed}")
    found = {program.operations: program for program in _heldout_until(num_tasks, rng)}
    return [
        _task(f"toy_programs/heldout/{seed}/{i}", program, rng)
        for i, program in enumerate(found.values())
    ]


def train_program(rng: random.Random) -> Program:
    """One that is not held out."""
    while (program := _draw(rng)).is_heldout:
        pass
    return program


def written_program(program: Program) -> str:
    """The code as an answer shows it."""
    return f"```python\n{program.code}\n```"


def _heldout_until(num_tasks: int, rng: random.Random) -> Iterator[Program]:
    taken: set[tuple[str, ...]] = set()
    while len(taken) < num_tasks:
        program = _draw(rng)
        if program.is_heldout and program.operations not in taken:
            taken.add(program.operations)
            yield program


def _draw(rng: random.Random) -> Program:
    operations = tuple(_operation(rng) for _ in range(rng.choice((2, 2, 3))))
    return Program(operations=operations)


def _operation(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(("*2", "*3"))
    return rng.choice("+-") + str(rng.randint(1, LARGEST_TERM))


def _task(task_id: str, program: Program, rng: random.Random) -> Task:
    language = rng.choice(LANGUAGES)
    cases: list[dict[str, Any]] = [{"args": [x], "output": program.value(x)} for x in ARGUMENTS]
    columns = {
        "kind": "program",
        "language": language,
        "tests": {"function": "f", "cases": cases},
        "solution": program.code,
    }
    return Task(id=task_id, prompt=program.asked_in(language), columns=columns)
