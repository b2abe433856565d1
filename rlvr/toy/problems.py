"""Math problems of the toy world: chains of small sums and products, in two languages.

    index, split, seed --> Chain (the arithmetic) + wording --> Task(prompt, {"answer", "language"})

A hash of a chain's canonical form, which ignores language, wording and the order of terms, decides
whether it is held out. In a training chain, every rest that a worked step leaves (6*7-5+9=42-5+9)
is not held out either. Single facts such as 7+8=15 belong to no split.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rlvr.types import Task

__all__ = [
    "COMMA",
    "LANGUAGES",
    "Chain",
    "has_heldout_hash",
    "heldout_tasks",
    "problem",
    "train_chain",
]

Split = Literal["train", "heldout"]

LANGUAGES = ("en", "zh")
COMMA = {"en": ", ", "zh": ","}
MAX_HELDOUT = 500
LARGEST_VALUE = 20  # of any intermediate result
LARGEST_TERM = 7
LARGEST_START = 12
LARGEST_FACTOR = 5

_BARE = {
    "en": ("What is {expression}?", "Compute {expression}.", "{expression} = ?"),
    "zh": ("{expression}等于多少?", "计算{expression}。", "求{expression}的值。"),
}
_NAMES = {"en": ("Tom", "Ann", "Ben", "Lily"), "zh": ("小明", "小红", "小刚", "小丽")}
_THINGS = {"en": ("pens", "eggs", "cards", "coins"), "zh": ("支笔", "个蛋", "张卡", "枚币")}
_OPENINGS = {  # for a head of one number and for one of two factors
    "en": ("{name} has {0} {thing}", "{name} has {0} boxes of {1} {thing}"),
    "zh": ("{name}有{0}{thing}", "{name}有{0}盒,每盒{1}{thing}"),
}
_GAINS = {"en": ("gets {n}", "finds {n}", "buys {n}"), "zh": ("得到{n}", "找到{n}", "买来{n}")}
_LOSSES = {"en": ("loses {n}", "sells {n}", "drops {n}"), "zh": ("丢了{n}", "卖掉{n}", "送出{n}")}
_QUESTION = {"en": ". How many now?", "zh": "。现在有多少?"}


def has_heldout_hash(text: str, *, one_in: int = 8) -> bool:
    """Return whether a hash of `text` puts it into the held-out split, for any seed."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") % one_in == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Arithmetic from left to right: `Chain(head=(6, 7), terms=(-5, 9))` is 6*7-5+9 = 46."""

    head: tuple[int, ...]  # one number, or the two factors of a product
    terms: tuple[int, ...]  # signed, added one after the other; never 0

    @property
    def num_numbers(self) -> int:
        """The count of numbers in the expression; a single fact has two."""
        return len(self.head) + len(self.terms)

    @property
    def expression(self) -> str:
        """The chain as text: `6*7-5+9`."""
        return "*".join(map(str, self.head)) + "".join(f"{term:+d}" for term in self.terms)

    @property
    def values(self) -> tuple[int, ...]:
        """Running results: the head's value, then one after each term."""
        return tuple(itertools.accumulate(self.terms, initial=math.prod(self.head)))

    @property
    def answer(self) -> int:
        """The last running result."""
        return self.values[-1]

    @property
    def canonical(self) -> str:
        """Equal for all chains that differ only in the order of their factors or terms."""
        is_product = len(self.head) == 2
        product = "*".join(map(str, sorted(self.head))) if is_product else ""
        addends = self.terms if is_product else (*self.head, *self.terms)
        return product + "".join(f"{term:+d}" for term in sorted(addends))

    @property
    def is_heldout(self) -> bool:
        """True if the chain may occur only in evaluation, for any seed."""
        return has_heldout_hash(self.canonical)

    def is_trainable(self, values: tuple[int, ...] | None = None) -> bool:
        """Return whether training text may work the chain, with `values` as running results."""
        rests = [
            Chain(head=(value,), terms=self.terms[done:])
            for done, value in enumerate(self.values if values is None else values)
        ]
        return not any(rest.is_heldout for rest in (self, *rests) if rest.num_numbers > 2)

    def ask(self, language: str, rng: random.Random) -> str:
        """Return a prompt, bare arithmetic or a short story; `rng` picks the wording."""
        if rng.random() < 0.5:
            return rng.choice(_BARE[language]).format(expression=self.expression)
        who = {"name": rng.choice(_NAMES[language]), "thing": rng.choice(_THINGS[language])}
        opening = _OPENINGS[language][len(self.head) - 1].format(*self.head, **who)
        moves = [
            rng.choice((_GAINS if term > 0 else _LOSSES)[language]).format(n=abs(term))
            for term in self.terms
        ]
        return COMMA[language].join([opening, *moves]) + _QUESTION[language]


def problem(index: int, *, split: Split = "train", seed: int = 0) -> Task:
    """Return the `index`-th problem of an endless, seeded source; some recur after thousands."""
    rng = random.Random(f"toy/{split}/{seed}/{index}")
    chain = train_chain(rng) if split == "train" else _heldout_chain(rng)
    return _task(f"toy/{split}/{seed}/{index}", chain, rng)


def heldout_tasks(num_tasks: int, *, seed: int = 0) -> list[Task]:
    """Return held-out problems, distinct in canonical form. Raises ValueError for more than 500."""
    if not 0 < num_tasks <= MAX_HELDOUT:
        raise ValueError(f"num_tasks is {num_tasks}; allowed is 1 to {MAX_HELDOUT}")
    rng = random.Random(f"toy/heldout/{seed}")
    taken: set[str] = set()
    tasks: list[Task] = []
    while len(tasks) < num_tasks:
        chain = _heldout_chain(rng)
        if chain.canonical not in taken:
            taken.add(chain.canonical)
            tasks.append(_task(f"toy/heldout/{seed}/{len(tasks)}", chain, rng))
    return tasks


def train_chain(rng: random.Random) -> Chain:
    """Draw a chain without a held-out part, as all training text requires."""
    return _draw_until(Chain.is_trainable, rng)


def _heldout_chain(rng: random.Random) -> Chain:
    return _draw_until(lambda chain: chain.is_heldout, rng)


def _draw_until(accept: Callable[[Chain], bool], rng: random.Random) -> Chain:
    # the form first: long chains are rejected more often, and training would be on short ones
    is_product = rng.random() < 0.4
    num_terms = rng.choice((1, 2, 2) if is_product else (2, 3))
    while True:
        if is_product:
            head = [rng.randint(2, LARGEST_FACTOR) for _ in range(2)]
        else:
            head = [rng.randint(2, LARGEST_START)]
        terms = tuple(rng.choice((1, -1)) * rng.randint(1, LARGEST_TERM) for _ in range(num_terms))
        chain = Chain(head=tuple(head), terms=terms)
        if all(0 < value <= LARGEST_VALUE for value in chain.values) and accept(chain):
            return chain


def _task(task_id: str, chain: Chain, rng: random.Random) -> Task:
    language = rng.choice(LANGUAGES)
    columns = {"kind": "math", "answer": str(chain.answer), "language": language}
    return Task(id=task_id, prompt=chain.ask(language, rng), columns=columns)
