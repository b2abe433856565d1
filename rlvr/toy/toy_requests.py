"""The toy world's third family, which no rule of the trainer grades: short requests for kindness.

    "Greet Tom and Ann." --> "Hello, nice to see you!"                   liked
                             "Hello." or "Thank you, you are kind!"      not liked

What is liked is known here, so that a reward model can be trained on pairs and be checked. A
request is held out by a hash of what it asks and for whom, in any order. Two people, not one: with
one, a model learns which name goes with which act, and is wrong on every one held out.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from dataclasses import dataclass
from typing import Literal

from rlvr.toy.wordings import LANGUAGES
from rlvr.types import Task

__all__ = ["Manner", "ToyRequest", "heldout_requests", "request_task", "train_request"]

Manner = Literal["kind", "curt", "confused"]

HELDOUT_ONE_IN = 3
NAMES = {
    "en": ("Tom", "Ann", "Ben", "Lily", "Max", "Eva", "Sam", "Ida", "Leo", "Mia"),
    "zh": ("小明", "小红", "小刚", "小丽", "小华", "小云", "小东", "小美", "小雨", "小龙"),
}
_ASKED = {
    "en": {"greet": "Greet {names}.", "thank": "Thank {names}.", "wish": "Wish {names} luck."},
    "zh": {"greet": "向{names}问好。", "thank": "感谢{names}。", "wish": "祝{names}好运。"},
}
_AND = {"en": " and ", "zh": "和"}
_KIND = {
    "en": {
        "greet": "Hello, nice to see you!",
        "thank": "Thank you, you are kind!",
        "wish": "Good luck, you can do it!",
    },
    "zh": {"greet": "你好,很高兴见到你!", "thank": "谢谢,你真好!", "wish": "祝你好运,你能行!"},
}
_CURT = {
    "en": {"greet": "Hello.", "thank": "Thanks.", "wish": "Luck."},
    "zh": {"greet": "你好。", "thank": "谢谢。", "wish": "好运。"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyRequest:
    """One request: `ToyRequest(act="greet", names=("Tom", "Ann"), language="en")`."""

    act: str
    names: tuple[str, str]
    language: str

    @property
    def prompt(self) -> str:
        """How it is asked for."""
        names = _AND[self.language].join(self.names)
        return _ASKED[self.language][self.act].format(names=names)

    @property
    def is_heldout(self) -> bool:
        """Whether it may occur in evaluation alone."""
        named = " ".join(sorted(self.names))
        digest = hashlib.sha256(f"{self.act}/{named}".encode()).digest()
        return int.from_bytes(digest[:4], "big") % HELDOUT_ONE_IN == 0

    @property
    def pattern(self) -> str:
        """A regular expression that the liked reply matches, and no other."""
        return re.escape(self.reply("kind", random.Random(0)))

    def reply(self, manner: Manner, rng: random.Random) -> str:
        """A reply; a confused one does something else."""
        if manner == "curt":
            return _CURT[self.language][self.act]
        kind = _KIND[self.language]
        act = self.act
        if manner == "confused":
            act = rng.choice([other for other in kind if other != self.act])
        return kind[act]


def train_request(rng: random.Random) -> ToyRequest:
    """One that is not held out."""
    while (request := _draw(rng)).is_heldout:
        pass
    return request


def request_task(index: int, *, seed: int = 0) -> Task:
    """The `index`-th of an endless, seeded supply of training tasks."""
    rng = random.Random(f"toy/courtesies/train/{seed}/{index}")
    return _task(f"toy_requests/train/{seed}/{index}", train_request(rng))


def heldout_requests(num_tasks: int | None = None, *, seed: int = 0) -> list[Task]:
    """So many of them, or all, in a mixed order that no `seed` changes."""
    every = [
        ToyRequest(act=act, names=names, language=language)
        for language in LANGUAGES
        for act in _ASKED[language]
        for names in itertools.permutations(NAMES[language], 2)
    ]
    heldout = [request for request in every if request.is_heldout]
    random.Random("toy/courtesies/heldout").shuffle(heldout)
    return [_task(f"toy_requests/heldout/{i}", one) for i, one in enumerate(heldout[:num_tasks])]


def _draw(rng: random.Random) -> ToyRequest:
    language = rng.choice(LANGUAGES)
    act = rng.choice(tuple(_ASKED[language]))
    first, second = rng.sample(NAMES[language], 2)
    return ToyRequest(act=act, names=(first, second), language=language)


def _task(task_id: str, request: ToyRequest) -> Task:
    columns = {
        "kind": "general",
        "language": request.language,
        "pattern": request.pattern,
        "reply": request.reply("kind", random.Random(0)),
    }
    return Task(id=task_id, prompt=request.prompt, columns=columns)
