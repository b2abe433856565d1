"""Programming tasks of the toy world: small functions, described in English or Chinese.

    "Write f: double x, add 3." --> def f(x): return x*2+3     tests: f(1) == 5, ...

A hash of its operations decides whether a program is held out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from rlvr.toy.problems import COMMA, LANGUAGES, has_heldout_hash
from rlvr.types import Task

__all__ = ["ToyProgram", "heldout_programs", "program_task", "train_program"]

LARGEST_TERM = 9
MAX_HELDOUT = 256
ARGUMENTS = (0, 1, 2, 5, 9)

_WORDS = {
    "en": {"*2": "double", "*3": "triple", "+": "add {n}", "-": "take {n}"},
    "zh": {"*2": "乘2", "*3": "乘3", "+": "加{n}", "-": "减{n}"},
}
_PROMPT = {"en": "Write f: x, {steps}.", "zh": "写f:x,{steps}。"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyProgram:
    """Operations on x, one after the other: `ToyProgram(operations=("*2", "+3"))`."""

    operations: tuple[str, ...]  # "*2", "*3", "+n" or "-n"

    @property
    def expressions(self) -> tuple[str, ...]:
        """The expression after each operation: ("x*2", "x*2+3")."""
        grown, expression = [], "x"
        for operation in self.operations:
            if operation[0] == "*" and not {"+", "-"}.isdisjoint(expression):
                expression = f"({expression})"
            expression += operation
            grown.append(expression)
        return tuple(grown)

    @property
    def code(self) -> str:
        """The function, without a final line break."""
        return f"def f(x):\n return {self.expressions[-1]}"

    @property
    def fenced_code(self) -> str:
        """The code as an answer contains it."""
        return f"```python\n{self.code}\n```"

    @property
    def is_heldout(self) -> bool:
        """True if the program may occur only in evaluation, for any seed."""
        return has_heldout_hash(" ".join(self.operations))

    def value(self, x: int) -> int:
        """Return f(x)."""
        for operation in self.operations:
            number = int(operation[1:])
            x = {"*": x * number, "+": x + number, "-": x - number}[operation[0]]
        return x

    def prompt(self, language: str) -> str:
        """Return the prompt in `language`."""
        words = _WORDS[language]
        steps = [words.get(one) or words[one[0]].format(n=one[1:]) for one in self.operations]
        return _PROMPT[language].format(steps=COMMA[language].join(steps))


def program_task(index: int, *, seed: int = 0) -> Task:
    """Return the `index`-th task of an endless, seeded source of training tasks."""
    rng = random.Random(f"toy/programs/train/{seed}/{index}")
    return _task(f"toy_programs/train/{seed}/{index}", train_program(rng), rng)


def heldout_programs(num_tasks: int, *, seed: int = 0) -> list[Task]:
    """Return held-out tasks with distinct operations. Raises ValueError for more than 256."""
    if not 0 < num_tasks <= MAX_HELDOUT:
        raise ValueError(f"num_tasks is {num_tasks}; allowed is 1 to {MAX_HELDOUT}")
    rng = random.Random(f"toy/programs/heldout/{seed}")
    found: dict[ToyProgram, None] = {}
    while len(found) < num_tasks:
        if (program := _draw(rng)).is_heldout:
            found[program] = None
    return [_task(f"toy_programs/heldout/{seed}/{i}", one, rng) for i, one in enumerate(found)]


def train_program(rng: random.Random) -> ToyProgram:
    """Draw a program that is not held out."""
    while (program := _draw(rng)).is_heldout:
        pass
    return program


def _draw(rng: random.Random) -> ToyProgram:
    operations = []
    for _ in range(rng.choice((2, 2, 3))):
        if rng.random() < 0.4:
            operations.append(rng.choice(("*2", "*3")))
        else:
            operations.append(rng.choice("+-") + str(rng.randint(1, LARGEST_TERM)))
    return ToyProgram(operations=tuple(operations))


def _task(task_id: str, program: ToyProgram, rng: random.Random) -> Task:
    language = rng.choice(LANGUAGES)
    cases: list[dict[str, Any]] = [{"args": [x], "output": program.value(x)} for x in ARGUMENTS]
    columns = {
        "kind": "program",
        "language": language,
        "tests": {"function": "f", "cases": cases},
        "solution": program.code,
    }
    return Task(id=task_id, prompt=program.prompt(language), columns=columns)
