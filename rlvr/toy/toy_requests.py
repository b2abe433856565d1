"""Requests of the toy world, which no rule of the trainer grades: short requests for kindness.

    "Greet Tom and Ann." --> "Hello, nice to see you!"                   preferred
                             "Hello." or "Thank you, you are kind!"      not preferred

The preferred reply is known, so a reward model can be trained on pairs and verified. A hash of act
and names decides whether a request is held out. With one name instead of two, a model would learn
which name belongs to which act and fail on all held-out ones.
"""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import dataclass
from typing import Literal

from rlvr.toy.problems import LANGUAGES, has_heldout_hash
from rlvr.types import Task

__all__ = ["Manner", "ToyRequest", "heldout_requests", "request_task", "train_request"]

Manner = Literal["kind", "curt", "confused"]

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
        """The text of the request."""
        names = _AND[self.language].join(self.names)
        return _ASKED[self.language][self.act].format(names=names)

    @property
    def is_heldout(self) -> bool:
        """True if the request may occur only in evaluation."""
        return has_heldout_hash(f"{self.act}/{' '.join(sorted(self.names))}", one_in=3)

    @property
    def pattern(self) -> str:
        """A regular expression that only the preferred reply matches."""
        return re.escape(self.reply("kind", random.Random(0)))

    def reply(self, manner: Manner, rng: random.Random) -> str:
        """Return a reply; a confused one performs another act."""
        if manner == "curt":
            return _CURT[self.language][self.act]
        kind = _KIND[self.language]
        others = [act for act in kind if act != self.act]
        return kind[self.act if manner == "kind" else rng.choice(others)]


def train_request(rng: random.Random) -> ToyRequest:
    """Draw a request that is not held out."""
    while True:
        language = rng.choice(LANGUAGES)
        act = rng.choice(tuple(_ASKED[language]))
        first, second = rng.sample(NAMES[language], 2)
        request = ToyRequest(act=act, names=(first, second), language=language)
        if not request.is_heldout:
            return request


def request_task(index: int, *, seed: int = 0) -> Task:
    """Return the `index`-th task of an endless, seeded source of training tasks."""
    rng = random.Random(f"toy/courtesies/train/{seed}/{index}")
    return _task(f"toy_requests/train/{seed}/{index}", train_request(rng))


def heldout_requests(num_tasks: int | None = None, *, seed: int = 0) -> list[Task]:
    """Return `num_tasks` held-out tasks, or all, in a shuffled order that ignores `seed`."""
    heldout = [
        request
        for language in LANGUAGES
        for act in _ASKED[language]
        for names in itertools.permutations(NAMES[language], 2)
        if (request := ToyRequest(act=act, names=names, language=language)).is_heldout
    ]
    random.Random("toy/courtesies/heldout").shuffle(heldout)
    return [_task(f"toy_requests/heldout/{i}", one) for i, one in enumerate(heldout[:num_tasks])]


def _task(task_id: str, request: ToyRequest) -> Task:
    columns = {
        "kind": "general",
        "language": request.language,
        "pattern": request.pattern,
        "reply": request.reply("kind", random.Random(0)),
    }
    return Task(id=task_id, prompt=request.prompt, columns=columns)
