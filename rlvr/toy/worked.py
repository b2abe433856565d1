"""Rows of the other toy families for supervised stages: `data: rlvr.toy.worked:programs`.

programs      right, well-formed answers          requests   kind, curt and confused replies
preferences   pairs for a reward model: a kind reply and another one
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from rlvr.toy.corpus import CLOSE, LEAD
from rlvr.toy.problems import COMMA, LANGUAGES
from rlvr.toy.programs import train_program
from rlvr.toy.toy_requests import Manner, train_request

__all__ = ["preferences", "programs", "requests"]

NUM_ROWS = 4000
MANNERS: tuple[Manner, ...] = ("kind", "curt", "confused")
MANNER_WEIGHTS = (0.4, 0.35, 0.25)  # not all of it is kind, as in real text

_KIND_REASONING = {"en": "So be kind, ok", "zh": "算得友善,好"}


def programs(split: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield four thousand rows; `split` seeds them."""
    rng = random.Random(f"toy/worked/programs/{split}")
    for _ in range(NUM_ROWS):
        program, language = train_program(rng), rng.choice(LANGUAGES)
        reasoning = LEAD[language] + COMMA[language].join(program.expressions) + CLOSE[language]
        yield _row(program.prompt(language), reasoning, program.fenced_code, language)


def requests(split: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield four thousand rows; `split` seeds them."""
    rng = random.Random(f"toy/worked/courtesies/{split}")
    for _ in range(NUM_ROWS):
        request = train_request(rng)
        (manner,) = rng.choices(MANNERS, weights=MANNER_WEIGHTS)
        language = request.language
        yield _row(request.prompt, _KIND_REASONING[language], request.reply(manner, rng), language)


def preferences(split: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield four thousand pairs; `split` seeds them."""
    rng = random.Random(f"toy/worked/preferences/{split}")
    for _ in range(NUM_ROWS):
        request = train_request(rng)
        worse = request.reply(rng.choice(MANNERS[1:]), rng)
        yield {"prompt": request.prompt, "chosen": request.reply("kind", rng), "rejected": worse}


def _row(prompt: str, reasoning: str, content: str, language: str) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "reasoning_content": reasoning,
        "content": content,
        "completion": f" <think>{reasoning}</think>{content}",
        "language": language,
    }
