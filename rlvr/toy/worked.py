"""Rows of the toy world's other families for supervised stages: `data: rlvr.toy.worked:programs`.

programs      right, well-formed answers          requests   kind, curt and confused replies
preferences   pairs for a reward model: a kind reply before one that is not
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from rlvr.toy.programs import train_program, written_program
from rlvr.toy.toy_requests import Manner, train_request
from rlvr.toy.wordings import LANGUAGES

__all__ = ["preferences", "programs", "requests"]

NUM_ROWS = 4000
MANNERS: tuple[Manner, ...] = ("kind", "curt", "confused")
MANNER_WEIGHTS = (0.4, 0.35, 0.25)  # as in text found in the wild: not all of it is kind

_LEAD = {"en": "So ", "zh": "算得"}
_COMMA = {"en": ", ", "zh": ","}
_CLOSE = {"en": ", ok", "zh": ",好"}
_CARE = {"en": "So be kind, ok", "zh": "算得友善,好"}


def programs(split: str | None = None) -> Iterator[dict[str, Any]]:
    """Four thousand rows; `split` seeds them."""
    rng = random.Random(f"toy/worked/programs/{split}")
    for _ in range(NUM_ROWS):
        program, language = train_program(rng), rng.choice(LANGUAGES)
        thought = _LEAD[language] + _COMMA[language].join(program.expressions) + _CLOSE[language]
        yield _row(program.asked_in(language), thought, written_program(program), language)


def requests(split: str | None = None) -> Iterator[dict[str, Any]]:
    """Four thousand rows; `split` seeds them."""
    rng = random.Random(f"toy/worked/courtesies/{split}")
    for _ in range(NUM_ROWS):
        request = train_request(rng)
        (manner,) = rng.choices(MANNERS, weights=MANNER_WEIGHTS)
        reply = request.reply(manner, rng)
        yield _row(request.prompt, _CARE[request.language], reply, request.language)


def preferences(split: str | None = None) -> Iterator[dict[str, Any]]:
    """Four thousand pairs; `split` seeds them."""
    rng = random.Random(f"toy/worked/preferences/{split}")
    for _ in range(NUM_ROWS):
        request = train_request(rng)
        worse: Manner = rng.choice(("curt", "confused"))
        yield {
            "prompt": request.prompt,
            "chosen": request.reply("kind", rng),
            "rejected": request.reply(worse, rng),
        }


def _row(prompt: str, thought: str, content: str, language: str) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "reasoning_content": thought,
        "content": content,
        "completion": f" <think>{thought}</think>{content}",
        "language": language,
    }
