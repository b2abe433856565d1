"""The toy world's verifiable problems: chains of small sums and products, in two languages.

    index, split, seed --> Chain (the arithmetic) + wording --> Task(prompt, {"answer", "language"})

A chain is held out or not by a hash of its canonical form, which ignores language, wording and
the order of terms: no rewording or reordering of a held-out problem can occur in training text or
training tasks. Nor as a part: a training chain is one whose every rest, as it is left after a
worked step (6*7-5+9=42-5+9), is not held out either. Chains have at least three numbers, so
single facts such as 7+8=15 belong to no split.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rlvr.toy import wordings
from rlvr.types import Task

__all__ = [
    "LARGEST_FACTOR",
    "LARGEST_TERM",
    "LARGEST_VALUE",
    "Chain",
    "Split",
    "heldout_tasks",
    "problem",
    "train_chain",
    "train_tasks",
]

Split = Literal["train", "heldout"]

HELDOUT_ONE_IN = 8
MAX_HELDOUT = 500
LARGEST_VALUE = 20  # of any intermediate result
LARGEST_TERM = 7
LARGEST_START = 12
LARGEST_FACTOR = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Arithmetic from left to right: `Chain(head=(6, 7), terms=(-5, 9))` is 6*7-5+9 = 46."""

    head: tuple[int, ...]  # one number, or the two factors of a product
    terms: tuple[int, ...]  # signed, added one after the other; never 0

    @property
    def num_numbers(self) -> int:
        """How many numbers the chain names; a single fact has two."""
        return len(self.head) + len(self.terms)

    @property
    def expression(self) -> str:
        """The chain as it is written: `6*7-5+9`."""
        return "*".join(map(str, self.head)) + "".join(f"{term:+d}" for term in self.terms)

    @property
    def values(self) -> tuple[int, ...]:
        """Running results: the head's value, then one after each term."""
        value = self.head[0] * self.head[1] if len(self.head) == 2 else self.head[0]
        running = [value]
        for term in self.terms:
            value += term
            running.append(value)
        return tuple(running)

    @property
    def answer(self) -> int:
        """The last running result."""
        return self.values[-1]

    @property
    def canonical(self) -> str:
        """Equal for all chains that differ only in the order of their factors or terms."""
        if len(self.head) == 2:
            low, high = sorted(self.head)
            return f"{low}*{high}" + "".join(f"{term:+d}" for term in sorted(self.terms))
        return "".join(f"{term:+d}" for term in sorted((*self.head, *self.terms)))

    @property
    def is_heldout(self) -> bool:
        """Whether the chain may occur in evaluation alone, whatever the seed."""
        digest = hashlib.sha256(self.canonical.encode()).digest()
        return int.from_bytes(digest[:4], "big") % HELDOUT_ONE_IN == 0

    def is_trainable(self, values: tuple[int, ...] | None = None) -> bool:
        """Whether text may work the chain, through `values` where they are not the right ones."""
        rests = [
            Chain(head=(value,), terms=self.terms[done:])
            for done, value in enumerate(self.values if values is None else values)
        ]
        return not any(rest.is_heldout for rest in (self, *rests) if rest.num_numbers > 2)


def problem(index: int, *, split: Split = "train", seed: int = 0) -> Task:
    """The `index`-th problem of an endless, seeded source; some recur after thousands."""
    rng = random.Random(f"toy/{split}/{seed}/{index}")
    chain = train_chain(rng) if split == "train" else _heldout_chain(rng)
    return _task(f"toy/{split}/{seed}/{index}", chain, rng)


def train_tasks(seed: int = 0) -> Iterator[Task]:
    """Training problems without end."""
    index = 0
    while True:
        yield problem(index, split="train", seed=seed)
        index += 1


def heldout_tasks(num_tasks: int, *, seed: int = 0) -> list[Task]:
    """Held-out problems, no two with the same canonical form.

    Raises ValueError when more are asked for than the world can be trusted to hold (599 in all).
    """
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
    """A chain without a held-out part; all text of the world is written about such chains."""
    return _draw_until(rng, Chain.is_trainable)


def _heldout_chain(rng: random.Random) -> Chain:
    return _draw_until(rng, lambda drawn: drawn.is_heldout)


def _task(task_id: str, chain: Chain, rng: random.Random) -> Task:
    language = rng.choice(wordings.LANGUAGES)
    prompt = wordings.ask(chain.head, chain.terms, language=language, rng=rng)
    columns = {"kind": "math", "answer": str(chain.answer), "language": language}
    return Task(id=task_id, prompt=prompt, columns=columns)


def _draw_until(rng: random.Random, accept: Callable[[Chain], bool]) -> Chain:
    while True:
        chain = _draw(rng)
        if all(0 < value <= LARGEST_VALUE for value in chain.values) and accept(chain):
            return chain


def _factors(rng: random.Random) -> tuple[int, int]:
    return rng.randint(2, LARGEST_FACTOR), rng.randint(2, LARGEST_FACTOR)


def _draw(rng: random.Random) -> Chain:
    if rng.random() < 0.4:
        head: tuple[int, ...] = _factors(rng)
        num_terms = rng.choice((1, 2, 2))
    else:
        head = (rng.randint(2, LARGEST_START),)
        num_terms = rng.choice((2, 2, 3))
    terms = tuple(rng.choice((1, -1)) * rng.randint(1, LARGEST_TERM) for _ in range(num_terms))
    return Chain(head=head, terms=terms)
