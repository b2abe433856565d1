"""The toy world's third family, which no rule of the trainer grades: short requests for kindness.

    "Greet Tom." --> "Hello, nice to see you!"                   liked
                     "Hello." or "Thank you, you are kind!"      not liked

What is liked is known here, so that a reward model can be trained on pairs and be checked. A
request is held out by a hash of whom and what it is about.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from typing import Literal

from rlvr.toy.wordings import LANGUAGES
from rlvr.types import Task

__all__ = ["Courtesy", "Manner", "courtesy_task", "heldout_courtesies", "train_courtesy"]

Manner = Literal["kind", "curt", "confused"]

HELDOUT_ONE_IN = 3
NAMES = {
    "en": ("Tom", "Ann", "Ben", "Lily", "Max", "Eva", "Sam", "Ida", "Leo", "Mia"),
    "zh": ("小明", "小红", "小刚", "小丽", "小华", "小云", "小东", "小美", "小雨", "小龙"),
}
_ASKED = {
    "en": {"greet": "Greet {name}.", "thank": "Thank {name}.", "wish": "Wish {name} luck."},
    "zh": {"greet": "向{name}问好。", "thank": "感谢{name}。", "wish": "祝{name}好运。"},
}
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
class Courtesy:
    """One request: `Courtesy(act="greet", name="Tom", language="en")`."""

    act: str
    name: str
    language: str

    @property
    def prompt(self) -> str:
        """How it is asked for."""
        return _ASKED[self.language][self.act].format(name=self.name)

    @property
    def is_heldout(self) -> bool:
        """Whether it may occur in evaluation alone."""
        digest = hashlib.sha256(f"{self.act}/{self.name}".encode()).digest()
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


def train_courtesy(rng: random.Random) -> Courtesy:
    """One that is not held out."""
    while (courtesy := _draw(rng)).is_heldout:
        pass
    return courtesy


def courtesy_task(index: int, *, seed: int = 0) -> Task:
    """The `index`-th of an endless, seeded supply of training tasks."""
    rng = random.Random(f"toy/courtesies/train/{seed}/{index}")
    return _task(f"toy_courtesies/train/{seed}/{index}", train_courtesy(rng))


def heldout_courtesies(num_tasks: int | None = None, *, seed: int = 0) -> list[Task]:
    """The first so many of them, or all; no `seed` changes them."""
    every = [
        Courtesy(act=act, name=name, language=language)
        for language in LANGUAGES
        for act in _ASKED[language]
        for name in NAMES[language]
    ]
    heldout = [courtesy for courtesy in every if courtesy.is_heldout]
    return [_task(f"toy_courtesies/heldout/{i}", one) for i, one in enumerate(heldout[:num_tasks])]


def _draw(rng: random.Random) -> Courtesy:
    language = rng.choice(LANGUAGES)
    act = rng.choice(tuple(_ASKED[language]))
    return Courtesy(act=act, name=rng.choice(NAMES[language]), language=language)


def _task(task_id: str, courtesy: Courtesy) -> Task:
    columns = {
        "kind": "general",
        "language": courtesy.language,
        "pattern": courtesy.pattern,
        "reply": courtesy.reply("kind", random.Random(0)),
    }
    return Task(id=task_id, prompt=courtesy.prompt, columns=columns)
